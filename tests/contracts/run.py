"""schemathesis over a gateway that runs: another process, as a client is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .amendments import amended

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)
SEED = 1


def run(
    folder: Path,
    *,
    url: str,
    key: str,
    model: str,
    examples: int,
    phases: Sequence[str] = ("examples", "coverage", "fuzzing"),
    paths: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Every operation of the contract, or those of some paths; exit code 1 says that it failed.

    `url` is the gateway's, up to `/v1`. What is left of a run lies in `folder`.
    """
    contract = folder / "contract.json"
    contract.write_text(json.dumps(amended()))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(contract),
        f"--url={url.rstrip('/')}/v1",
        f"--header=Authorization: Bearer {key}",
        f"--phases={','.join(phases)}",
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
