"""Reputations over restarts, and of several gateways on one ledger."""

from __future__ import annotations

import contextlib
import json
import random
import time

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.reputation.keeper import Keeper
from gateway.reputation.view import reputation_json
from metering.backend import open_database, open_ledger
from metering.ledger import LedgerError
from metering.reputation_store import ReputationStore
from router.policy import Policy
from router.registry import Registry
from router.reputation import HALF_LIFE_NS, Evidence
from router.router import Router
from router.types import NodeRecord

pytestmark = pytest.mark.anyio


class Clock:
    now_ns = 10**18

    def __call__(self) -> int:
        return self.now_ns


class Away(ReputationStore):
    away = False

    def since(self, as_of_ns):
        if self.away:
            raise LedgerError("away")
        return super().since(as_of_ns)


class Gateway:
    """As much of one as reputations need."""

    def __init__(self, database, clock: Clock, monotonic_ns: int = 0) -> None:
        registry = Registry()
        registry.update(
            "test",
            [
                NodeRecord(node_id=name, supplier_id=f"of-{name}", url="http://h", model="m",
                           capacity=4)
                for name in ("a", "b")
            ],
        )  # fmt: skip
        self.router = Router(registry, Policy(), random.Random(1))
        self.router.nodes(0)
        begun_ns = clock.now_ns
        self.monotonic = lambda: monotonic_ns + clock.now_ns - begun_ns
        self.store = Away(database)
        self.keeper = Keeper(self.router, self.store, wall_ns=clock, monotonic_ns=self.monotonic)

    def see(self, kind: Evidence, times: int = 1, node: str = "a") -> None:
        for _ in range(times):
            self.router.report(node, kind, self.monotonic())

    def serve(self, times: int, node: str = "a") -> None:
        self.router.conducts.of(node, f"of-{node}").served += times

    def remembered(self, kind: Evidence, node: str = "a") -> float:
        return self.router.conducts.of(node, f"of-{node}").memory(self.monotonic()).get(kind, 0.0)

    def standing(self, node: str = "a") -> float:
        views = {view.node.node_id: view for view in self.router.nodes(self.monotonic())}
        return views[node].standing


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(tmp_path):
    open_ledger(tmp_path / "ledger.db").close()
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as made:
        yield made


async def test_a_restart_forgives_nothing(database, clock):
    before = Gateway(database, clock)
    before.see(Evidence.FALSE_USAGE)
    await before.keeper.sync()
    clock.now_ns += HALF_LIFE_NS // 100
    after = Gateway(database, clock, monotonic_ns=77)
    assert after.standing() == 1.0
    await after.keeper.sync()
    assert after.standing() == 0.0
    await before.keeper.sync()
    assert after.router.score("a") == before.router.score("a") < 900


async def test_it_fades_while_nobody_runs(database, clock):
    before = Gateway(database, clock)
    before.see(Evidence.FALSE_USAGE, 3)
    await before.keeper.sync()
    clock.now_ns += 2 * HALF_LIFE_NS
    after = Gateway(database, clock)
    await after.keeper.sync()
    assert after.remembered(Evidence.FALSE_USAGE) == pytest.approx(3 / 4, rel=0.02)
    clock.now_ns += 40 * HALF_LIFE_NS
    last = Gateway(database, clock)
    await last.keeper.sync()
    assert last.standing() == 1.0


async def test_two_gateways_see_what_both_saw_and_each_piece_once(database, clock):
    one, other = Gateway(database, clock), Gateway(database, clock)
    for turn in range(5):
        one.see(Evidence.STALLED)
        other.see(Evidence.STALLED)
        other.serve(10)
        for gateway in (one, other) if turn % 2 else (other, one):
            await gateway.keeper.sync()
        clock.now_ns += 10**10
    for gateway in (one, other, one):
        await gateway.keeper.sync(with_served=True)
    for gateway in (one, other):
        assert gateway.remembered(Evidence.STALLED) == pytest.approx(10, rel=0.25)
        assert gateway.remembered(Evidence.STALLED) <= 10
        assert 40 <= gateway.remembered(Evidence.SERVED) <= 50
    assert one.router.score("a") == other.router.score("a")


async def test_nothing_grows_when_nothing_happens(database, clock):
    one, other = Gateway(database, clock), Gateway(database, clock)
    one.see(Evidence.BROKEN, 2)
    for _ in range(20):
        await one.keeper.sync(with_served=True)
        await other.keeper.sync(with_served=True)
    assert one.remembered(Evidence.BROKEN) == pytest.approx(2, rel=0.01)
    assert other.remembered(Evidence.BROKEN) == pytest.approx(2, rel=0.01)


async def test_while_the_ledger_is_away_what_was_seen_counts_here_and_is_written_later(
    database, clock
):
    one = Gateway(database, clock)
    one.store.away = True
    one.see(Evidence.FALSE_USAGE)
    await one.keeper.sync()
    assert one.standing() == 0.0
    one.store.away = False
    await one.keeper.sync()
    other = Gateway(database, clock)
    await other.keeper.sync()
    assert other.standing() == 0.0


async def test_a_kind_of_evidence_that_is_no_more_is_left_out(database, clock):
    one = Gateway(database, clock)
    one.see(Evidence.BROKEN)
    await one.keeper.sync()
    database.query("""UPDATE reputation SET memory = '{"of_old":9.0,"broken":1.0}'""")
    other = Gateway(database, clock)
    await other.keeper.sync()
    assert set(other.router.conducts.of("a", "of-a").memory(0)) == {Evidence.BROKEN}


async def test_a_node_that_is_gone_and_of_which_nothing_is_left_is_forgotten(database, clock):
    one = Gateway(database, clock)
    one.router.conducts.of("gone", "s").served += 3
    await one.keeper.sync(with_served=True)
    assert one.router.conducts.known("gone") is not None
    clock.now_ns += 60 * HALF_LIFE_NS
    await one.keeper.sync(with_served=True)
    assert one.router.conducts.known("gone") is None
    assert one.router.conducts.known("a") is not None


async def test_the_command_tells_what_a_score_is_made_of(tmp_path, database, clock):

    clock.now_ns = time.time_ns()
    one = Gateway(database, clock)
    one.see(Evidence.FALSE_USAGE)
    one.see(Evidence.STALLED)
    one.serve(100, "b")
    await one.keeper.sync(with_served=True)
    ran = CliRunner().invoke(main, ["node", "reputation", "--json", "--home", str(tmp_path)])
    worst, best = (json.loads(line) for line in ran.output.splitlines())
    assert (worst["node"], worst["tier"], best["node"]) == ("a", "barred", "b")
    assert worst["score"] == one.router.score("a")
    (usage,) = worst["questions"]["usage"]["evidence"]
    assert (usage["kind"], usage["weight"], usage["speaks"]) == ("false_usage", 60.0, "against")
    told = CliRunner().invoke(main, ["node", "reputation", "a", "--home", str(tmp_path)]).output
    assert "barred" in told
    assert "stalled" in told
    listed = CliRunner().invoke(main, ["node", "reputation", "--home", str(tmp_path)]).output
    assert listed.index(" of-a ") < listed.index(" of-b ")
    unknown = CliRunner().invoke(main, ["node", "reputation", "x", "--home", str(tmp_path)])
    assert unknown.exit_code == 1
    assert "nothing was ever written of 'x'" in unknown.output


def test_a_node_that_nobody_saw_has_none():
    assert reputation_json(Router(Registry(), Policy(), random.Random(1)).conducts, "x", 0) is None


def test_scores_are_the_sum_of_what_is_told(database, clock):
    """Whoever reads the evidence and the published weights can work the score out."""
    one = Gateway(database, clock)
    one.see(Evidence.BROKEN, 4)
    one.serve(50)
    told = reputation_json(one.router.conducts, "a", one.monotonic())
    question = told["questions"]["reliability"]
    expected_broken = 160 / 160 + sum(
        each["remembered"] * each["weight"]
        for each in question["evidence"]
        if each["speaks"] == "against"
    )
    assert question["broken"] == pytest.approx(expected_broken, rel=0.001)
    assert told["score"] == question["score"]
