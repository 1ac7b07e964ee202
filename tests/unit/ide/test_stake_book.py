"""Stakes in a ledger: what is slashed is held a month, then an epoch burns it, once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cli import main
from gateway.home import Home
from ide.chain.due import due_of, ledger_io, settled_io
from ide.chain.plan import CLOSING
from ide.invariants import check_books, supply_io
from ide.journal import books_of, posted_balances
from ide.params import IdeParams
from ide.replay import replay
from ide.settlement import Settlement, SettlementStatus, open_supply, settle, stored_result
from ide.stake_book import StakeBook, final_slashes
from ide.stake_journal import Move, Moved, stake_group
from ide.staking import (
    DAY_NS,
    Offence,
    Stake,
    StakeError,
    StakeParams,
    accept_offer,
    add,
    appeal_won,
    costaker_leaves,
    slash,
    unstake,
)
from metering import accounts
from metering.backend import open_database, open_ledger
from metering.database import Database
from metering.ledger import Group, Ledger, Transfer, TransferKind
from metering.money import IO_UNIT

PARAMS, STAKING = IdeParams(), StakeParams()
EVIDENCE = "ab" * 32
NOW = 1_000 * DAY_NS
MONTH = 30 * DAY_NS
STAKED = 1_600 * IO_UNIT


class World:
    """A ledger with its IO issued, and the stakes in it."""

    def __init__(self, where: Path | str) -> None:
        self.ledger: Ledger = open_ledger(where)
        self.database: Database = open_database(where)
        open_supply(self.ledger, PARAMS)
        self.book = StakeBook(self.ledger, self.database, "test", STAKING)

    def stake(self, device: str = "dev-7") -> Moved:
        empty = Stake(device=device, owner="alice", gpu_class="H100-PCIe", processors=1)
        return self.book.open(add(empty, STAKED), NOW)

    def slash(self, offence: Offence = Offence.MINING, at_ns: int = NOW) -> Moved:
        return self.book.move(
            "dev-7", Move.SLASH, lambda held: slash(held, offence, EVIDENCE, at_ns, STAKING), at_ns
        )

    def appeal(self, at_ns: int) -> Moved:
        return self.book.move(
            "dev-7", Move.APPEAL_WON, lambda held: appeal_won(held, EVIDENCE, at_ns, STAKING), at_ns
        )

    def settle(self, at_ns: int, price: int | None = None) -> Settlement:
        return settle(
            self.ledger, PARAMS, io_price_nano_usd=price, now_ns=at_ns, database=self.database
        )

    def posted(self, account: str) -> int:
        return self.ledger.balance(account).posted

    def assert_right(self) -> None:
        assert self.book.differences() == []
        assert self.ledger.verify().ok
        assert replay(self.ledger, self.database).ok
        if (last := self.ledger.latest_epoch()) is not None:
            state = stored_result(last).state
            check_books(books_of(posted_balances(self.ledger.trial_balance())), state)
            assert supply_io(state) == PARAMS.cap_io

    def close(self) -> None:
        self.ledger.close()
        self.database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    postgres = request.param == "postgres"
    where = request.getfixturevalue("postgres_url") if postgres else tmp_path / "ledger.db"
    with contextlib.closing(World(where)) as made:
        yield made


def test_a_slash_is_burned_by_the_first_epoch_after_its_month(world: World) -> None:
    world.stake()
    world.slash(Offence.MINING)
    taken = STAKED // 5
    assert world.posted("io:stake:dev-7") == STAKED - taken
    assert world.posted(accounts.IO_SLASHED) == taken
    assert world.settle(NOW + MONTH - 1).status is SettlementStatus.NOTHING_NEW
    settled = world.settle(NOW + MONTH)
    assert settled.status is SettlementStatus.SETTLED
    assert settled.row is not None
    report, state = stored_result(settled.row).report, stored_result(settled.row).state
    assert (report.io_slashed, report.io_burned, report.io_bought) == (taken, taken, 0)
    assert state.burned_circulating_io == world.posted(accounts.IO_BURNED) == taken
    assert world.posted(accounts.IO_SLASHED) == 0
    assert world.settle(NOW + 2 * MONTH).status is SettlementStatus.NOTHING_NEW
    world.assert_right()
    assert due_of(world.ledger, settled.row.epoch).burn_io == taken, "on the chain too"
    assert settled_io(world.ledger) == ledger_io(world.ledger.trial_balance()) == {CLOSING: taken}


def test_what_is_slashed_burns_beside_what_is_bought_back(world: World) -> None:
    world.stake()
    world.slash(Offence.SPOOFING)
    paid_in = Transfer(
        id="d",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_EXTERNAL,
        credit=accounts.USD_FEE_VAULT,
        amount=10**12,
        code="test",
    )
    world.ledger.post("test", [Group(transfers=(paid_in,))])
    settled = world.settle(NOW + MONTH, price=160_000_000)
    assert settled.row is not None
    assert stored_result(settled.row).report.io_slashed == STAKED
    world.assert_right()


def test_an_appeal_that_is_won_leaves_nothing_to_burn(world: World) -> None:
    world.stake()
    world.slash()
    moved = world.appeal(NOW + MONTH - 1)
    assert moved.stake.holds == ()
    assert world.posted("io:stake:dev-7") == STAKED
    assert final_slashes(world.database, NOW + MONTH) == ()
    assert world.settle(NOW + MONTH).status is SettlementStatus.NOTHING_NEW
    free = world.book.move("dev-7", Move.RELEASE, lambda held: held, NOW + 2 * MONTH)
    assert free.paid_io == {"alice": STAKED // 5}
    world.assert_right()


def test_what_an_epoch_has_burned_cannot_be_won_back(world: World) -> None:
    """By a clock that is behind, the month is not over."""
    world.stake()
    world.slash()
    world.settle(NOW + MONTH)
    with pytest.raises(StakeError, match="an epoch has burned"):
        world.appeal(NOW + 1)
    assert world.posted("io:stake:dev-7") == STAKED - STAKED // 5
    world.assert_right()


def test_what_was_won_back_is_not_burned_by_an_epoch_that_saw_it_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stake()
    world.slash()
    seen = final_slashes(world.database, NOW + MONTH)
    world.appeal(NOW + 1)
    monkeypatch.setattr("ide.outside.final_slashes", lambda *_: seen)
    with pytest.raises(Exception, match="exists_with_different_credit"):
        world.settle(NOW + MONTH)
    assert world.ledger.latest_epoch() is None
    assert world.posted(accounts.IO_BURNED) == 0


def test_one_evidence_takes_once(world: World) -> None:
    world.stake()
    world.slash()
    with pytest.raises(StakeError, match="on that evidence before"):
        world.slash()
    world.appeal(NOW + 1)
    with pytest.raises(StakeError, match="slashed on that evidence before"):
        world.slash()
    world.assert_right()


def test_of_two_moves_at_once_the_second_is_refused(world: World) -> None:
    world.stake()

    def overtaken(held: Stake) -> Stake:
        world.slash()
        return add(held, 5)

    with pytest.raises(StakeError, match="moved by somebody else"):
        world.book.move("dev-7", Move.ADD, overtaken, NOW)
    assert world.book.get("dev-7").move is Move.SLASH
    with pytest.raises(StakeError, match="moved by somebody else"):
        world.stake()
    world.assert_right()


def test_nobody_stakes_more_than_circulates(world: World) -> None:
    world.stake()
    with pytest.raises(StakeError, match="more IO than circulates"):
        world.book.move("dev-7", Move.ADD, lambda held: add(held, PARAMS.cap_io), NOW)
    world.assert_right()


def test_a_stake_that_its_account_does_not_hold_is_named(world: World) -> None:
    world.stake()
    moved = Transfer(
        id="oops",
        kind=TransferKind.SINGLE,
        debit="io:stake:dev-7",
        credit=accounts.IO_CIRCULATING,
        amount=1,
        code="oops",
    )
    world.ledger.post("test", [Group(transfers=(moved,))])
    (problem,) = world.book.differences()
    assert problem == f"dev-7: {STAKED} base units by its moves, {STAKED - 1} in its account"


def test_io_that_comes_from_nowhere_is_not_booked() -> None:
    stake = Stake(device="d", owner="o", gpu_class="L4", processors=1, own_io=10)
    less = Moved(
        number=2,
        move=Move.ADD,
        at_ns=NOW,
        paid_io={},
        stake=Stake(device="d", owner="o", gpu_class="L4", processors=1, own_io=9),
    )
    with pytest.raises(StakeError, match="1 base units of d would be lost"):
        stake_group(stake, less)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=st.lists(st.tuples(st.sampled_from("acsulve"), st.integers(1, 20)), max_size=12))
def test_whatever_happens_stakes_ledger_and_supply_agree(
    tmp_path: Path, moves: list[tuple[str, int]]
) -> None:
    file = tmp_path / "ledger.db"
    for left in tmp_path.iterdir():
        left.unlink()
    with contextlib.closing(World(file)) as world:
        world.stake()
        now = NOW
        for place, (move, number) in enumerate(moves):
            now += number * DAY_NS
            with contextlib.suppress(StakeError):
                _play(world, move, number, now, place)
        world.settle(now + 2 * MONTH, price=160_000_000)
        world.assert_right()
        staked = sum(stake.stake.burned_io for stake in world.book.all())
        assert staked <= world.posted(accounts.IO_BURNED)


def _play(world: World, move: str, number: int, now: int, place: int) -> None:
    evidence = f"{place:064x}"[::-1]

    def change(held: Stake) -> Stake:
        match move:
            case "a":
                return add(held, number)
            case "c":
                return accept_offer(held, "bob", number, 500_000, 0, STAKING)
            case "s":
                return slash(held, list(Offence)[number % 5], evidence, now, STAKING)
            case "u":
                return unstake(held, 1, now, hired=False, params=STAKING)
            case "l":
                return costaker_leaves(held, now, STAKING)
            case "v":
                return appeal_won(held, held.holds[0].evidence if held.holds else "", now, STAKING)
        return held

    if move == "e":
        world.settle(now)
    else:
        world.book.move("dev-7", Move.RELEASE, change, now)


def test_the_operators_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first stake to the burn in the supply; the month is no time here."""
    monkeypatch.setattr("gateway.cli.stake._PARAMS", StakeParams(hold_days=0, cooldown_days=0))
    evidence, nothing = tmp_path / "report.txt", tmp_path / "nothing"
    evidence.write_text("what was seen")
    nothing.write_text("")
    open_ledger(Home(tmp_path).ledger_file).close()

    def tollgate(*arguments: str, fails: str = "") -> dict:
        done = CliRunner().invoke(main, [*arguments, "--home", str(tmp_path), "--json"])
        assert (done.exit_code != 0) == bool(fails), done.output
        assert fails in done.output
        return {} if fails else json.loads(done.stdout)

    new = ("--owner", "alice", "--gpu-class", "H100-PCIe")
    tollgate("stake", "add", "dev-7", "2000", fails="give --owner and --gpu-class")
    tollgate("stake", "add", "dev-7", "2000", "--owner", "a", "--gpu-class", "A10", fails="A10")
    assert tollgate("stake", "add", "dev-7", "2000", *new)["active_io"] == 2_000 * IO_UNIT
    tollgate("stake", "costake", "dev-7", "500", "bob", "--share", "50")
    assert tollgate("stake", "leave", "dev-7", "--only", "100")["paid_io"] == {
        "alice": 100 * IO_UNIT
    }
    tollgate("stake", "leave", "dev-7", "--hired", fails="hired")
    slashing = ("stake", "slash", "dev-7", "--offence", "spoofing", "--evidence")
    tollgate(*slashing, str(nothing), fails="a slash needs evidence")
    assert tollgate(*slashing, str(evidence))["held_io"] == 2_400 * IO_UNIT
    tollgate("stake", "appeal-won", "dev-7", "--evidence", str(evidence), fails="nothing of dev-7")
    assert tollgate("settle", "status")["final_slashes_io"] == 2_400 * IO_UNIT
    told = tollgate("settle", "run")
    assert told["report"]["io_slashed"] == 2_400 * IO_UNIT
    assert told["supply"]["ok"]
    assert told["state"]["burned_circulating_io"] == 2_400 * IO_UNIT
    assert tollgate("settle", "replay")["ok"]
    assert tollgate("stake", "list")["stake"]["device"] == "dev-7"
    assert tollgate("stake", "release", "dev-7")["stake"]["burned_io"] == 2_400 * IO_UNIT
    shown = CliRunner().invoke(main, ["stake", "show", "dev-7", "--home", str(tmp_path)])
    assert "2400 IO lost for good" in shown.output
