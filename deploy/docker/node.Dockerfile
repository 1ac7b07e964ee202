# A supplier's GPU node: vLLM and the agent that enrols it. Needs the NVIDIA container toolkit to run.
#   docker build -f deploy/docker/node.Dockerfile -t tollgate-node .
#   chmod 644 invitation      the image's user reads it
#   docker run --gpus all --shm-size 8g -p 8443:8443 -v tollgate-node:/var/lib/tollgate-node \
#       -v $PWD/invitation:/run/secrets/invitation:ro tollgate-node \
#       --gateway https://gw.example --invitation-file /run/secrets/invitation \
#       --model OWNER/MODEL --listen 0.0.0.0:8443 --advertise https://node7.example:8443
FROM nvidia/cuda:12.9.1-runtime-ubuntu24.04
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv python3-dev gcc \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY ide ide
COPY metering metering
COPY router router
COPY serving serving
RUN python3 -m venv /opt/tollgate && /opt/tollgate/bin/pip install --no-cache-dir ".[serve]"
RUN groupadd --gid 10001 tollgate \
    && useradd --uid 10001 --gid 10001 --no-log-init --create-home --home-dir /var/lib/tollgate-node tollgate
ENV PATH=/opt/tollgate/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/var/lib/tollgate-node/models
USER 10001
VOLUME /var/lib/tollgate-node
EXPOSE 8443
STOPSIGNAL SIGTERM
ENTRYPOINT ["tollgate", "node", "run", "--no-ray", "--home", "/var/lib/tollgate-node"]
