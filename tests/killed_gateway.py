"""A gateway that kills itself at a certain point of the n-th line of a batch, or answer to be kept.

    python killed_gateway.py POINT N serve --home DIR ...

`asked`, `whole`: the node's answer is whole (of a line, under an Idempotency-Key), and nothing is
written. `kept`: it is durable, its charge is not closed. `charged`: that is durable, and the line
is not marked done. `ended`: so it is, and the answer's end is not told.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from gateway.batches.line_run import LineRun
from gateway.batches.line_writer import LineWriter
from gateway.cli import main
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.held import HeldDriver
from metering.answer_store import AnswerStore

POINTS: dict[str, tuple[type, str]] = {
    "asked": (LineRun, "_take"),
    "whole": (AnswerStore, "keep"),
    "kept": (HeldDriver, "take"),
    "charged": (LineWriter, "done"),
    "ended": (CoroutineDriver, "end"),
}


def dying(method: Callable[..., Any], calls: int) -> Callable[..., Any]:
    left = [calls]

    def call(*arguments: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)

    return call


if __name__ == "__main__":
    owner, name = POINTS[sys.argv[1]]
    setattr(owner, name, dying(getattr(owner, name), int(sys.argv[2])))
    main(sys.argv[3:])
