#!/bin/sh
# Makes .venv with everything: Tollgate (editable), its engine, the tools of the tests.
# The engine is vLLM for CUDA where nvidia-smi answers, else vLLM for the CPU.
#
#   PYTHON          interpreter to use, 3.11 or newer (default: python3)
#   PIP_FIND_LINKS  folder or page of wheels that are on no index, passed on to uv; torch's CPU build
#                   must be found there, or on an index that pip is configured with
#
# A stamp remembers what was installed from what; a second call is instant.
set -eu
cd "$(dirname "$0")/.."

if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
    extras=serve,dev
else
    extras=serve-cpu,dev
fi

stamp=.venv/.installed
wanted="$extras $(cat pyproject.toml serving/overrides.txt deploy/install.sh | cksum)"
if [ -x .venv/bin/tollgate ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "install: $python is missing or older than 3.11; set PYTHON to a newer one" >&2
    exit 1
fi

echo "install: making .venv for [$extras]; about 3 GB are downloaded the first time"
rm -f "$stamp"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet uv
set -- --python .venv/bin/python --compile-bytecode
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    set -- "$@" --find-links "$PIP_FIND_LINKS"
fi
if [ "$extras" = serve-cpu,dev ]; then
    set -- "$@" --overrides serving/overrides.txt
fi
.venv/bin/uv pip install "$@" --editable ".[$extras]"
echo "$wanted" >"$stamp"
