"""A gateway that kills itself at a certain point of the n-th line of a batch.

    python killed_gateway.py POINT N serve --home DIR ...

`asked`: the node's answer is whole, and nothing is written. `kept`: the answer is durable, its
charge is not closed. `charged`: that is durable, and the line is not marked done.
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
from gateway.drivers.held import HeldDriver

POINTS: dict[str, tuple[type, str]] = {
    "asked": (LineRun, "_take"),
    "kept": (HeldDriver, "take"),
    "charged": (LineWriter, "done"),
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
