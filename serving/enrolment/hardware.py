"""What this machine is made of, as far as it tells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from serving.enrolment.messages import Hardware

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")


def hardware(engine: str) -> Hardware:
    """Blocks for a second at most a dozen. `engine`: its name and version."""
    gpus = _gpus()
    return Hardware(
        gpu=gpus[0][0] if gpus else "",
        gpus=len(gpus),
        gpu_memory_mib=sum(memory for _, memory in gpus),
        cpus=os.cpu_count() or 0,
        memory_mib=_memory_mib(),
        engine=engine,
    )


def _gpus() -> list[tuple[str, int]]:
    try:
        told = subprocess.run(_QUERY, capture_output=True, text=True, timeout=12, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(",") for line in told.stdout.splitlines()]
    return [(name.strip(), int(mib)) for name, _, mib in rows if mib.strip().isdigit()]


def _memory_mib() -> int:
    first = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()[0]
    return int(first.split()[1]) // 1024
