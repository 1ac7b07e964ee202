"""What is owed to the store of kept answers: in its order, and not beyond its claim."""

from __future__ import annotations

import time

import pytest
from served import eventually

from gateway.drivers.arrears import Arrears, Place, place_of
from metering.ledger import LedgerError

pytestmark = pytest.mark.anyio


class Store:
    def __init__(self):
        self.away = True
        self.done = []

    def work(self, what):
        def ask(account, name):
            if self.away:
                raise LedgerError("the server closed the connection")
            self.done.append((account, name, what))

        return ask


async def test_a_work_that_could_be_done_at_once_waits_for_the_one_before_it():
    store, arrears, place = Store(), Arrears(), place_of("acme", "order-7")
    await arrears.do(place, store.work("keep"))
    await arrears.do(place, store.work("withdraw"))
    assert store.done == []
    store.away = False
    done = [("acme", "order-7", "keep"), ("acme", "order-7", "withdraw")]
    assert await eventually(lambda: store.done, lambda found: len(found) == 2) == done
    await arrears.do(place, store.work("release"))
    assert store.done == [*done, ("acme", "order-7", "release")]


async def test_a_claim_that_may_be_anothers_by_now_is_let_go():
    store, arrears = Store(), Arrears()
    await arrears.do(Place("acme", "old", time.monotonic() - 1), store.work("keep"))
    await arrears.do(place_of("acme", "new"), store.work("keep"))
    store.away = False
    assert await eventually(lambda: store.done, bool) == [("acme", "new", "keep")]
