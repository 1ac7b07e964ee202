"""The whole examination: every part at once, none waited for longer than its time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.doctor import books, cluster, disks, nodes, price, processes, redis_server
from gateway.doctor.patient import Patient, admit
from gateway.doctor.remark import Remark, fault
from gateway.home import Home

PATIENCE_S = 30.0

Part = Callable[[Patient], list[Remark]]

PARTS: dict[str, Part] = {
    disks.CHECK: disks.examine,
    processes.CHECK: processes.examine,
    books.BOOKS: books.examine,
    redis_server.CHECK: redis_server.examine,
    nodes.CHECK: nodes.examine,
    cluster.CHECK: cluster.examine,
    price.CHECK: price.examine,
}


def examine(home: Home, config_file: Path | None, patience_s: float = PATIENCE_S) -> list[Remark]:
    """Every remark, in the order of the parts. What hangs (a disk, a server) is a fault of its own,
    and the thread that waits for it is left behind.
    """
    patient, found = admit(home, config_file)
    deadline_s = time.monotonic() + patience_s
    answers = {name: _ask(part, patient) for name, part in PARTS.items()}
    for name, answer in answers.items():
        try:
            told = answer.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            advice = "it is frozen, or the way to it swallows what is sent: look there"
            found.append(fault(name, "all of it", f"no answer in {patience_s:g} s", advice))
            continue
        if isinstance(told, BaseException):
            raise told
        found += told
    return found


def _ask(part: Part, patient: Patient) -> queue.SimpleQueue[list[Remark] | BaseException]:
    answer: queue.SimpleQueue[list[Remark] | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put(part(patient))
        except BaseException as error:
            answer.put(error)
            raise

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return answer
