"""The load process: carries out one job and writes its report.

python -m tests.bench.load '{"kind": "closed", ...}'        (a job.Job, as JSON)
"""

from __future__ import annotations

import gc
import subprocess
import sys

import msgspec
import uvloop

from .closed_loop import ClosedLoop
from .flood import Flood
from .job import Job, Report
from .open_loop import OpenLoop
from .pinned import ROOT


class LoadError(RuntimeError):
    """The load process ended without a report."""


def carry_out(job: Job, core: int) -> Report:
    """Run a load process on this core. Raises LoadError."""
    ended = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-m", "tests.bench.load",
         msgspec.json.encode(job).decode()],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        raise LoadError(f"the load process failed:\n{ended.stderr.decode()[-2000:]}")
    return msgspec.json.decode(ended.stdout, type=Report)


async def _run(job: Job) -> Report:
    kinds = {"open": OpenLoop, "flood": Flood}
    return await kinds.get(job.kind, ClosedLoop)(job).run()


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    gc.freeze()
    gc.disable()  # a pause here would be read as the gateway's
    sys.stdout.write(msgspec.json.encode(uvloop.run(_run(job))).decode())


if __name__ == "__main__":
    main()
