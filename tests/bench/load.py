"""The load process: carries out one job and writes its report.

    python -m tests.bench.load '{"kind": "closed", ...}'        (a job.Job, as JSON)
"""

from __future__ import annotations

import gc
import sys

import msgspec
import uvloop

from .closed_loop import ClosedLoop
from .job import Job, Report
from .open_loop import OpenLoop


async def carry_out(job: Job) -> Report:
    return await (OpenLoop(job) if job.kind == "open" else ClosedLoop(job)).run()


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    gc.freeze()
    gc.disable()  # a pause here would be read as the gateway's
    sys.stdout.write(msgspec.json.encode(uvloop.run(carry_out(job))).decode())


if __name__ == "__main__":
    main()
