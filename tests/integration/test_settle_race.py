"""Several processes close one epoch at once, some of them die: it is booked once, or not yet."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from books import closed, deposit, opened, used

from gateway.settlement.close import Orders, Outcome, Told
from ide.params import IdeParams
from ide.replay import replay
from metering import accounts
from metering.accounts import Asset
from metering.backend import open_ledger
from metering.ledger import Ledger
from metering.posting import close_group, hold_group

ROUNDS, AT_ONCE, CHARGES = 6, 4, 200
CENTS_16 = 160_000_000
ROOT = Path(__file__).parents[2]


def serve(ledger: Ledger, round_: int) -> None:
    groups = []
    for number in range(CHARGES):
        name = f"c-{round_}-{number}"
        closing = msgspec.structs.replace(closed(name, used(10)), supplier_id=f"s{number % 50}")
        opening = opened(name, hold=10**6)
        groups += [hold_group(opening), close_group(opening, closing)]
    assert all(result.booked for result in ledger.post("g", groups))


def closing(where: Path | str, epoch: int, price: int) -> subprocess.Popen[bytes]:
    orders = Orders(
        file=str(where) if isinstance(where, Path) else None,
        url=where if isinstance(where, str) else None,
        params=IdeParams(),
        io_price_nano_usd=price,
        epoch=epoch,
        now_ns=time.time_ns(),
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "gateway.settlement.close"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(orders))
    child.stdin.close()
    return child


def told(child: subprocess.Popen[bytes]) -> Outcome | None:
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.read()
    child.wait(timeout=60)
    return msgspec.json.decode(said, type=Told).outcome if said else None


def test_an_epoch_is_booked_once_whoever_closes_it_and_whoever_dies(where: Path | str) -> None:
    rng = random.Random(7)
    with contextlib.closing(open_ledger(where)) as ledger:
        ledger.post("cli", [deposit("alice", 10**12)])
        took_s = 1.0
        for round_ in range(ROUNDS):
            epoch = round_ + 1
            serve(ledger, round_)
            began_s = time.monotonic()
            children = [closing(where, epoch, CENTS_16 + each) for each in range(AT_ONCE)]
            for child in children[: AT_ONCE - 1]:
                delay_s = began_s + rng.uniform(0.3, 1.1) * took_s - time.monotonic()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=max(0.0, delay_s))
                child.kill()
            outcomes = [told(child) for child in children]
            took_s = time.monotonic() - began_s
            assert outcomes[-1] in (Outcome.SETTLED, Outcome.ALREADY_SETTLED)
            assert outcomes.count(Outcome.SETTLED) <= 1
            latest = ledger.latest_epoch()
            assert latest is not None
            assert latest.epoch == epoch
        assert ledger.verify().ok
        assert replay(ledger).ok
        earned_io = ROUNDS * CHARGES * 8_000 * 7 // 10 * 10 // 16
        paid = sum(
            ledger.balance(accounts.supplier(Asset.IO, f"s{number}")).posted for number in range(50)
        )
        assert 0 <= earned_io - paid <= ROUNDS * 50, "a base unit each is lost to rounding"
