"""schemathesis over a gateway that runs: another process, as a client is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .amendments import amended
from .links import link

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)
SEED = 1
ANSWERING = ("/chat/completions", "/completions", "/embeddings", "/responses")
"""The paths whose answers a node makes."""
KEPT = (("/responses",), ("/files", "/batches"))
"""How the paths begin whose answers are kept, and which of them know of each other."""

# It would guess links, and then take what is linked to for no place to begin at.
_NO_GUESSES = "[phases.stateful.inference]\nalgorithms = []\n"


def kept_paths() -> list[list[str]]:
    """Of each group of KEPT all paths of the contract."""
    return [[path for path in amended()["paths"] if path.startswith(group)] for group in KEPT]


def run(
    folder: Path,
    *,
    url: str,
    key: str,
    model: str,
    examples: int,
    mode: str = "all",
    phases: Sequence[str] = ("examples", "coverage", "fuzzing"),
    paths: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Every operation of the contract, or those of some paths; exit code 1 says that it failed.

    `url` is the gateway's, up to `/v1`. `mode` "positive" asks nothing but good requests, of which
    the others are few, and so sees more answers. What is left of a run lies in `folder`.
    """
    contract, document = folder / "contract.json", amended()
    link(document)
    (folder / "schemathesis.toml").write_text(_NO_GUESSES)
    contract.write_text(json.dumps(document))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(contract),
        f"--url={url.rstrip('/')}/v1",
        f"--header=Authorization: Bearer {key}",
        f"--phases={','.join(phases)}",
        f"--mode={mode}",
        f"--max-examples={examples}",
        f"--seed={SEED}",
        f"--checks={','.join(CHECKS)}",
        "--continue-on-failure",
        "--no-color",
        *[f"--include-path={path}" for path in paths],
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "contract_hooks", "TOLLGATE_CONTRACT_MODEL": model}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **hooks},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
