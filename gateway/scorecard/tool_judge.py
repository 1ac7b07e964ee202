"""The process that judges tool calls. `tool_checks.py` starts it and feeds its stdin.

    python -m gateway.scorecard.tool_judge

Schemas are customers', so they are run where one that takes for ever, or all memory, ends this
process and no other. It ends with its stdin.
"""

from __future__ import annotations

import resource
import signal
import sys

import msgspec

from gateway.scorecard.tool_calls import judge
from gateway.scorecard.tool_job import LENGTH, NO_CALLS, Job

JOB_S = 1.0
"""What takes longer is not checked."""

MEMORY_BYTES = 1024 * 1024 * 1024


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoder = msgspec.msgpack.Decoder(Job)
    jobs, verdicts = sys.stdin.buffer, sys.stdout.buffer
    while head := jobs.read(LENGTH.size):
        job = decoder.decode(jobs.read(LENGTH.unpack(head)[0]))
        signal.setitimer(signal.ITIMER_REAL, JOB_S)
        verdict = judge(job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        verdicts.write(bytes([NO_CALLS if verdict is None else verdict]))
        verdicts.flush()


if __name__ == "__main__":
    main()
