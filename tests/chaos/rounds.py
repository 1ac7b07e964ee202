"""Rounds of load in which something is killed, started again, and everything must be booked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
from served import eventually, sample_sum

from gateway.home import Home
from metering.sqlite_ledger import SqliteLedger

from .load import Asked, Load, kinds
from .stand import ACCOUNTS, Stand, stand
from .verdict import Nodes, faults

CLIENTS = 12
ROUNDS_A_STAND = 25
"""Then everything begins anew: a folder that is kept stays small."""
WARM_S = 0.4
LATE_S = 0.8
SETTLED_S = 60

VICTIMS = ("worker", "gateway", "redis", "worker and redis", "gateway and redis", "flush")


class Report(msgspec.Struct):
    rounds: int = 0
    seconds: float = 0.0
    killed: Counter[str] = msgspec.field(default_factory=Counter)
    ended: Counter[str] = msgspec.field(default_factory=Counter)
    recovery_s: list[float] = []
    """From the last start to the first answer."""
    charges: int = 0
    failures: list[str] = []


async def run(
    folder: Path, rounds: int, seed: int, tell: Callable[[str], None] = lambda line: None
) -> Report:
    report, rng, began_s = Report(), random.Random(seed), time.monotonic()
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(rounds)]
    for first in range(0, rounds, ROUNDS_A_STAND):
        place = folder / f"from-{first}"
        async with stand(place) as made:
            await _rounds(made, victims[first : first + ROUNDS_A_STAND], rng, report, tell)
        if not report.failures:
            shutil.rmtree(place)
        report.seconds = time.monotonic() - began_s
        if report.failures:
            report.failures.append(f"kept: {place}")
            break
    return report


async def _rounds(
    made: Stand,
    victims: list[str],
    rng: random.Random,
    report: Report,
    tell: Callable[[str], None],
) -> None:
    load = Load(made.port, made.keys, CLIENTS, rng.randrange(2**32))
    nodes, charges = Nodes(), 0
    for victim in victims:
        since = len(load.asked)
        recovered_s = await _round(made, load, victim, rng)
        nodes.look(made.nodes)
        with contextlib.closing(SqliteLedger(Home(made.home).ledger_file)) as ledger:
            found = faults(ledger, load.asked, nodes, ACCOUNTS)
            charges = sum(1 for _ in ledger.charges())
        report.rounds += 1
        report.killed[victim] += 1
        report.recovery_s.append(recovered_s)
        ended = dict(kinds(load.asked[since:]))
        report.ended.update(ended)
        report.failures += [f"round {report.rounds}, {victim}: {wrong}" for wrong in found]
        said = ", ".join(f"{count} {kind}" for kind, count in ended.items())
        tell(f"round {report.rounds}: killed {victim}: {said}; served again in {recovered_s:.1f} s")
        if found:
            return
    report.charges += charges
    status = await made.stop()
    if status:
        report.failures.append(f"the last stop ended with {status}")
    if leases := made.leases():
        report.failures.append(f"leased after the end: {leases}")
    with contextlib.closing(SqliteLedger(Home(made.home).ledger_file)) as ledger:
        report.failures += faults(ledger, load.asked, nodes, ACCOUNTS)


async def _round(made: Stand, load: Load, victim: str, rng: random.Random) -> float:
    """Load, a death, a start, load; then quiet. Returns the seconds until it served again."""
    load.stopping.clear()
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(WARM_S + rng.random() * LATE_S)
    await _kill(made, victim, rng)
    await asyncio.sleep(rng.random() * 0.3)
    began_s = time.monotonic()
    made.start_redis()
    if "gateway" in victim:
        await made.start()
    for account, secret in made.keys:
        if account != "poor":
            await eventually(
                lambda account=account, secret=secret: load.ask(account, secret),
                lambda asked: asked.usage is not None,
                within_s=SETTLED_S,
            )
    recovered_s = time.monotonic() - began_s
    await asyncio.sleep(0.2 + rng.random() * 0.3)
    load.stopping.set()
    await loading
    await _settled(made, load.asked)
    return recovered_s


async def _kill(made: Stand, victim: str, rng: random.Random) -> None:
    if "redis" in victim and rng.random() < 0.5:
        made.kill_redis()
        await asyncio.sleep(rng.random() * 0.2)
    if "worker" in victim:
        made.kill_worker(rng.randrange(2))
    if "gateway" in victim:
        await made.kill_gateway()
    if "redis" in victim and made.redis_lives:
        made.kill_redis()
    if victim == "flush":
        made.redis.flush()


async def _settled(made: Stand, asked: list[Asked]) -> None:
    """Both workers serve, nothing is under way, and the ledger has all."""
    url = f"http://127.0.0.1:{made.port}/metrics"
    names = ("tollgate_requests_in_flight", "tollgate_spool_backlog_rows")

    async def left() -> list[float]:
        if len(made.workers) < 2:
            return [1.0]
        try:
            async with httpx.AsyncClient() as client:
                text = (await client.get(url)).text
        except httpx.TransportError:
            return [1.0]
        return [sample_sum(text, name, {}) for name in names]

    done = {each.request_id for each in asked if each.usage is not None}

    def missing() -> int:
        with contextlib.closing(SqliteLedger(Home(made.home).ledger_file)) as ledger:
            booked = {charge.request_id for charge in ledger.charges()}
            held = sum(line.balance.debits_pending for line in ledger.trial_balance())
        return len(done - booked) + (held > 0)

    await eventually(left, lambda found: not any(found), within_s=SETTLED_S)
    with contextlib.suppress(AssertionError):  # what is missing is the verdict's to say
        await eventually(missing, lambda found: not found, within_s=10)


def lines(report: Report) -> Iterator[str]:
    """A report as text."""
    yield (
        f"rounds: {report.rounds} in {report.seconds:.0f} s, {report.charges} charges, "
        f"{len(report.failures)} faults"
    )
    yield from (f"  {count:>8}  killed {victim}" for victim, count in sorted(report.killed.items()))
    yield from (f"  {count:>8}  {kind}" for kind, count in sorted(report.ended.items()))
    slowest_s, all_s = max(report.recovery_s, default=0.0), sorted(report.recovery_s)
    middle_s = all_s[len(all_s) // 2] if all_s else 0.0
    yield f"  every key served again after {middle_s:.1f} s in the middle, {slowest_s:.1f} at most"
    yield from report.failures
