"""SIGKILL while rows are being appended: what was acknowledged as durable is there, in order."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metering.poster import Poster
from metering.spool import Spool
from metering.sqlite_ledger import SqliteLedger

TESTS = Path(__file__).parents[1]
READY_S = 120

CHILD = """
import os, queue, sys
from pathlib import Path
from books import closed, opened, progressed, used
from metering import poster as poster_module
from metering import spool_log
from metering.poster import Poster
from metering.spool import Spool
from metering.sqlite_ledger import SqliteLedger

spool_log.SEGMENT_BYTES = 20_000
poster_module.FORGET_ROWS = 100
calls = queue.SimpleQueue()
folder = Path(sys.argv[1])
spool = Spool(folder / "spool")
spool.recover(now_ns=1)
spool.start(calls.put)
ledger = SqliteLedger(folder / "ledger.db")
poster = Poster(spool, ledger, lambda updates: None)
poster.start()
life = sys.argv[2]

def acknowledge(name):
    def on_durable(error):
        assert error is None, error
        os.write(1, f"{name}\\n".encode())
    return on_durable

for i in range(1_000_000):
    name = f"{life}-{i}"
    spool.append(opened(name), acknowledge(f"open {name}"))
    spool.append(progressed(name, i % 7))
    if i % 3:
        spool.append(closed(name, used(i % 11)), acknowledge(f"close {name}"))
    while spool.backlog > 2000 or not calls.empty():
        calls.get()()
"""


def run_and_kill(folder: Path, life: int, acknowledgements: int) -> list[str]:
    """Kill a gateway once it has acknowledged so many rows; returns all that it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(life)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
    )
    assert child.stdout is not None
    output, deadline = b"", time.monotonic() + READY_S
    try:
        while output.count(b"\n") < acknowledgements:
            left = deadline - time.monotonic()
            assert left > 0, "the child is too slow"
            if select.select([child.stdout], [], [], left)[0]:
                part = os.read(child.stdout.fileno(), 65536)
                assert part, f"the child ended by itself: {child.wait()}"
                output += part
    finally:
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
    return output.decode().splitlines()


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_acknowledged_is_in_the_books_once(tmp_path, seed):
    acknowledged: list[str] = []
    for life in range(3):
        acknowledged += run_and_kill(tmp_path, life, 300 * seed + 211 * life)
    assert not (tmp_path / "spool" / f"{1:020}.log").exists(), "nothing was forgotten meanwhile"
    spool = Spool(tmp_path / "spool")
    ledger = SqliteLedger(tmp_path / "ledger.db")
    spool.recover(now_ns=2)
    spool.start(lambda call: call())
    poster = Poster(spool, ledger, lambda updates: None)
    poster.start()
    assert poster.drain(30)
    poster.stop()
    spool.close()
    records = list(ledger.charges())
    names = {record.charge_id for record in records}
    assert len(names) == len(records)
    done = {record.charge_id for record in records if record.outcome == "completed"}
    for line in acknowledged:
        what, name = line.split()
        assert name in (names if what == "open" else done), f"{line} was lost"
    found = ledger.verify()
    assert found.ok, found.problem
    assert not any(line.balance.debits_pending for line in ledger.trial_balance())
    ledger.close()
