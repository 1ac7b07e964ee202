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

import msgspec
from served import eventually

from metering.accounts import customer

from .load import Asked, Load, kinds
from .stand import ACCOUNTS, Stand, stand
from .verdict import Nodes, faults
from .victims import POSTGRES_VICTIMS, SQLITE_VICTIMS, kill, outage_s

CLIENTS = 12
ROUNDS_A_STAND = 25
"""Then everything begins anew: a folder that is kept stays small."""
WARM_S = 0.4
LATE_S = 0.8
SETTLED_S = 60
POOR_NANO_USD = 1_000_000
"""With so much left, even the poor account has to be served: some requests' worth."""


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
    folder: Path,
    rounds: int,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
    *,
    postgres: bool = False,
) -> Report:
    report, rng, began_s = Report(), random.Random(seed), time.monotonic()
    kinds_of_death = POSTGRES_VICTIMS if postgres else SQLITE_VICTIMS
    victims = [kinds_of_death[number % len(kinds_of_death)] for number in range(rounds)]
    for first in range(0, rounds, ROUNDS_A_STAND):
        place = folder / f"from-{first}"
        async with stand(place, postgres=postgres) as made:
            await _rounds(made, victims[first : first + ROUNDS_A_STAND], rng, report, tell)
            if report.failures:
                await made.keep(place)
                report.failures.append(f"kept: {place}")
        report.seconds = time.monotonic() - began_s
        if report.failures:
            break
        shutil.rmtree(place)
    return report


async def _rounds(
    made: Stand,
    victims: list[str],
    rng: random.Random,
    report: Report,
    tell: Callable[[str], None],
) -> None:
    ports = [gateway.port for gateway in made.gateways]
    load = Load(ports, made.keys, CLIENTS, rng.randrange(2**32))
    nodes = Nodes()
    for victim in victims:
        since = len(load.asked)
        try:
            recovered_s = await _round(made, load, victim, rng)
        except (AssertionError, TimeoutError) as error:
            report.failures.append(f"round {report.rounds + 1}, {victim}: {error!r}")
            return
        nodes.look(made.nodes)
        with made.ledger() as ledger:
            found = faults(ledger, load.asked, nodes, ACCOUNTS)
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
    if any(statuses := await made.stop()):
        report.failures.append(f"the last stop ended with {statuses}")
    if leases := made.leases():
        report.failures.append(f"leased after the end: {leases}")
    with made.ledger() as ledger:
        report.failures += faults(ledger, load.asked, nodes, ACCOUNTS)
        report.charges += sum(1 for _ in ledger.charges())


async def _round(made: Stand, load: Load, victim: str, rng: random.Random) -> float:
    """Load, a death, a start, load; then quiet. Returns the seconds until it served again."""
    load.stopping.clear()
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(WARM_S + rng.random() * LATE_S)
    pids = {gateway: gateway.pid for gateway in made.gateways}
    killed = await kill(made, victim, rng)
    await asyncio.sleep(outage_s(victim, rng))
    began_s = time.monotonic()
    await made.start()
    await serves(made, load, [key for key in made.keys if key[0] != "poor"])
    recovered_s = time.monotonic() - began_s
    for gateway, pid in pids.items():
        assert gateway in killed or gateway.pid == pid, f"{gateway.home.name} was restarted"
    await asyncio.sleep(0.2 + rng.random() * 0.3)
    load.stopping.set()
    await loading
    await settled(made, load.asked)
    with made.ledger() as ledger:
        poor_has = ledger.balance(customer("poor")).available
    if poor_has >= POOR_NANO_USD:  # what was leased by whoever died is no longer
        await serves(made, load, [key for key in made.keys if key[0] == "poor"])
        await settled(made, load.asked)
    return recovered_s


async def serves(made: Stand, load: Load, keys: list[tuple[str, str]]) -> None:
    """Each of these keys is served by every gateway."""
    for gateway in made.gateways:
        for account, secret in keys:
            await eventually(
                lambda key=(account, secret, gateway.port): load.ask(*key),
                lambda asked: asked.usage is not None,
                within_s=SETTLED_S,
            )


async def settled(made: Stand, asked: list[Asked]) -> None:
    """All gateways are quiet, and the ledger has every answer and no hold."""

    async def busy() -> list[str]:
        return [each.home.name for each in made.gateways if not await each.quiet()]

    await eventually(busy, lambda found: not found, within_s=SETTLED_S)
    done = {each.request_id for each in asked if each.usage is not None}
    with made.ledger() as ledger:

        def missing() -> int:
            booked = {charge.request_id for charge in ledger.charges()}
            held = sum(line.balance.debits_pending for line in ledger.trial_balance())
            return len(done - booked) + (held > 0)

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
