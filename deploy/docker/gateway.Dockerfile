# The gateway alone: no Ray, no vLLM, no torch; about 200 MB. From the repository's root:
#   docker build -f deploy/docker/gateway.Dockerfile -t tollgate-gateway .
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY ide ide
COPY metering metering
COPY router router
COPY serving serving
RUN python -m venv /opt/tollgate && /opt/tollgate/bin/pip install --no-cache-dir ".[postgres]"

FROM python:3.12-slim
RUN groupadd --gid 10001 tollgate \
    && useradd --uid 10001 --gid 10001 --no-log-init --home-dir /var/lib/tollgate tollgate \
    && install -d -o tollgate -g tollgate -m 0750 /var/lib/tollgate
COPY --from=build /opt/tollgate /opt/tollgate
ENV PATH=/opt/tollgate/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/tollgate
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["tollgate"]
CMD ["serve", "--home", "/var/lib/tollgate", "--config", "/etc/tollgate/tollgate.toml"]
