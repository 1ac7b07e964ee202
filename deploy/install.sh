#!/bin/sh
# Makes .venv with everything: Tollgate (editable), its engine, the tools of the tests.
# The engine is vLLM for CUDA where nvidia-smi answers, else vLLM for the CPU.
#
#   PYTHON          interpreter to use, 3.11 to 3.13 (default: the fastest that is installed)
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
wanted="$extras $(cat pyproject.toml serving/overrides.txt deploy/install.sh deploy/pick_python.py | cksum)"
if [ -x .venv/bin/tollgate ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

python=${PYTHON:-$(python3 deploy/pick_python.py)}
echo "install: making .venv for [$extras] with $python; about 3 GB are downloaded the first time"
rm -f "$stamp"
[ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
if [ ! -x .venv/bin/uv ]; then  # by a Python that has pip; the chosen one may have been packaged without
    python3 -m venv .venv/uv
    .venv/uv/bin/pip install --quiet uv
    ln -s ../uv/bin/uv .venv/bin/uv
fi
set -- --python .venv/bin/python --compile-bytecode
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    set -- "$@" --find-links "$PIP_FIND_LINKS"
fi
if [ "$extras" = serve-cpu,dev ]; then
    set -- "$@" --overrides serving/overrides.txt
fi
.venv/bin/uv pip install "$@" --editable ".[$extras]"
echo "$wanted" >"$stamp"
