"""One epoch of many suppliers: closed, replayed and proved, in time and memory."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.settlement.close import Orders, Outcome, Told
from ide.params import IdeParams
from ide.proof import check_proof
from ide.proving import PayoutTree, prove
from ide.replay import replay
from metering.backend import open_ledger

from . import ledger_file
from .ledger import Figure
from .screen import Status

SETTLE_S_MAX = 60
RSS_MIB_MAX = 1024
_ROOT = Path(__file__).parents[2]


class Crowd(msgspec.Struct, frozen=True):
    suppliers: int
    charges: int


FULL = Crowd(suppliers=100_000, charges=1_000_000)
QUICK = Crowd(suppliers=500, charges=5_000)


def measure_settling(crowd: Crowd, folder: Path | None, status: Status) -> list[Figure]:
    """In a file, and on a server of its own, below this folder."""
    from postgres_process import PostgresProcess  # here: only few have psycopg

    with tempfile.TemporaryDirectory(prefix="tollgate-bench-", dir=folder) as name:
        found = list(_settled(Path(name) / "ledger.db", crowd, status))
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-bench-", dir=folder) as name,
        PostgresProcess(Path(name), fsync=True) as server,
    ):
        for figure in _settled(server.fresh(), crowd, status):
            found.append(msgspec.structs.replace(figure, name=f"PostgreSQL: {figure.name}"))
    return found


def _settled(where: Path | str, crowd: Crowd, status: Status) -> Iterator[Figure]:
    status(f"making books of {crowd.charges:,} charges")
    ledger_file.make(where, 2 * crowd.charges + ledger_file.CUSTOMERS, suppliers=crowd.suppliers)
    status(f"settling {crowd.suppliers:,} suppliers")
    wall_s, cpu_s, rss_mib = _close(where)
    whole = f"an epoch of {crowd.suppliers:,} suppliers, {crowd.charges:,} charges"
    yield Figure(
        whole,
        f"{wall_s:.1f} s ({cpu_s:.1f} s CPU)",
        f"at most {SETTLE_S_MAX} s",
        wall_s <= SETTLE_S_MAX,
    )
    yield Figure(
        "its memory", f"{rss_mib:,} MiB", f"at most {RSS_MIB_MAX} MiB", rss_mib <= RSS_MIB_MAX
    )
    with contextlib.closing(open_ledger(where)) as ledger:
        status("proving")
        row = ledger.latest_epoch()
        assert row is not None
        begun = time.perf_counter()
        tree = PayoutTree(ledger, row.epoch)
        tree_s = time.perf_counter() - begun
        begun = time.perf_counter()
        proof = prove(ledger, row, "supplier-7", with_charges=True, tree=tree)
        prove_s = time.perf_counter() - begun
        checked = check_proof(msgspec.json.encode(proof), ledger.seals()[0].root)
        yield Figure(
            "a proof, from an epoch's tree",
            f"{prove_s * 1e3:.0f} ms, the tree {tree_s * 1e3:.0f} ms",
            "right",
            checked.charges == crowd.charges // crowd.suppliers,
        )
        status("replaying")
        begun = time.perf_counter()
        replayed = replay(ledger)
        replay_s = time.perf_counter() - begun
        problem = str(replayed.problem)
        yield Figure(
            "replay", f"{replay_s:.1f} s" if replayed.ok else problem, "right", replayed.ok
        )


def _close(where: Path | str) -> tuple[float, float, int]:
    """As a gateway does it: seconds, seconds of CPU, and the most MiB that were in memory."""
    orders = Orders(
        file=str(where) if isinstance(where, Path) else None,
        url=where if isinstance(where, str) else None,
        params=IdeParams(),
        io_price_nano_usd=160_000_000,
        epoch=1,
        now_ns=time.time_ns(),
    )
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.settlement.close"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(msgspec.json.encode(orders))
        child.stdin.close()
        rss_kib = 0
        while (ended := os.wait4(child.pid, os.WNOHANG))[0] == 0:
            rss_kib = max(rss_kib, _most_kib(child.pid))
            time.sleep(0.02)
        wall_s = time.perf_counter() - begun
        _, status, used = ended
        child.returncode = os.waitstatus_to_exitcode(status)
        told = msgspec.json.decode(child.stdout.read(), type=Told)
    assert told.outcome is Outcome.SETTLED, told
    return wall_s, used.ru_utime + used.ru_stime, rss_kib // 1024


def _most_kib(pid: int) -> int:
    """That were in memory so far; not `ru_maxrss`, which begins at what its parent had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0
