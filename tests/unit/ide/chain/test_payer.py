"""Epochs paid on the embedded VM, with real programs, and processes that die at every point."""

from __future__ import annotations

import struct

import msgspec
import pytest
from chain_world import (
    HEAD,
    ROOT,
    SUPPLY_IO,
    DiedError,
    Fuse,
    World,
    due_of,
    key_of,
    wallet_of,
)
from solders.account import Account
from solders.token.state import TokenAccount, TokenAccountState

from ide.chain.address import TOKEN_PROGRAM, token_address
from ide.chain.chain import ChainError
from ide.chain.payment import TransactionState
from ide.chain.payment_store import PaymentStore
from ide.chain.plan import CLOSING
from ide.chain.wallet_store import WalletStore

SUPPLIERS = 20
"""Three transactions of payouts, and the burn."""


@pytest.fixture
def world(where, tmp_path):
    made = World(where, tmp_path / "vm.db")
    made.set_wallets(SUPPLIERS)
    return made


@pytest.fixture
def local(tmp_path):
    """In SQLite: for what has nothing to do with the database."""
    made = World(tmp_path / "ledger.db", tmp_path / "vm.db")
    made.set_wallets(SUPPLIERS)
    return made


def expect_paid_once(world, due) -> None:
    """As the chain and the database are for a process that starts now."""
    with world.chain() as chain, world.database() as database:
        expect_paid(world, chain, database, due)


def expect_paid(world, chain, database, due) -> None:
    suppliers = len(due.payouts)
    assert world.balances(chain, suppliers) == [1_000 + n for n in range(suppliers)]
    funds = world.funds(chain, database)
    assert funds.supply_io == SUPPLY_IO - due.burn_io
    assert funds.vault_io == SUPPLY_IO - due.burn_io - sum(due.payouts.values())
    store = PaymentStore(database, chain.identity())
    paid = store.payments(due.epoch)
    assert {each.state for each in paid} == {TransactionState.FINALIZED}
    assert {each.payment.supplier_id: each.payment.io for each in paid} == {
        **due.payouts,
        CLOSING: due.burn_io,
    }
    assert store.live() == []


def test_an_epoch_is_paid_and_burned_to_the_base_unit(world):
    due = due_of(1, SUPPLIERS)
    with world.chain() as chain, world.database() as database:
        plan = world.payer(chain, database).pay(due)
        assert len(plan.batches) == 4
        assert plan.held == ()
        again = world.payer(chain, database).pay(due)
        assert again.batches == ()
    expect_paid_once(world, due)


def points_of(world) -> int:
    fuse = Fuse()
    with world.chain() as chain, world.database() as database:
        world.payer(chain, database, fuse).pay(due_of(1, SUPPLIERS))
    return fuse.points


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_point_and_resumed_nobody_is_paid_twice_or_missed(tmp_path, after):
    due = due_of(1, SUPPLIERS)
    first = World(tmp_path / "first.db", tmp_path / "first-vm.db")
    first.set_wallets(SUPPLIERS)
    with first.chain():
        pass
    points = points_of(first.copy(tmp_path / "whole"))
    assert points > 20, "too few points to prove anything"
    for point in range(1, points + 1):
        world = first.copy(tmp_path / str(point))
        with world.chain() as chain, world.database() as database:
            fuse = Fuse(point, after=after)
            with pytest.raises(DiedError):
                world.payer(chain, database, fuse).pay(due)
        with world.chain() as chain, world.database() as database:
            world.payer(chain, database).pay(due)
            expect_paid(world, chain, database, due)


def test_killed_again_and_again_every_run_gets_further(local):
    due = due_of(1, SUPPLIERS)
    deaths = 0
    for _ in range(60):
        with local.chain() as chain, local.database() as database:
            try:
                local.payer(chain, database, Fuse(9, after=deaths % 2 == 1)).pay(due)
                break
            except DiedError:
                deaths += 1
    assert deaths > 3
    expect_paid_once(local, due)


def test_what_another_epoch_left_on_its_way_is_ended_first(local):
    with local.chain() as chain, local.database() as database:
        fuse = Fuse()

        class Silent:
            def __getattr__(self, name):
                return getattr(chain, name)

            def send(self, transaction):
                raise DiedError

        with pytest.raises(DiedError):
            local.payer(Silent(), database, fuse).pay(due_of(1, SUPPLIERS))
        store = PaymentStore(database, chain.identity())
        assert len(store.live()) == 2
        local.payer(chain, database).pay(due_of(2, 0, burn_io=5))
        assert store.live() == []
        assert len(store.payments(2)) == 1
        done = [each for each in store.payments(1) if each.state is TransactionState.FINALIZED]
        assert 0 < len(done) < SUPPLIERS
        local.payer(chain, database).pay(due_of(1, SUPPLIERS))
    with local.chain() as chain, local.database() as database:
        assert local.balances(chain, SUPPLIERS) == [1_000 + n for n in range(SUPPLIERS)]
        assert local.funds(chain, database).supply_io == SUPPLY_IO - 777 - 5


def test_two_runs_at_once_pay_everyone_once(local):
    """The second runs from end to end while the first sends its first transaction."""
    due = due_of(1, SUPPLIERS)
    with local.chain() as chain, local.database() as database:

        class Overtaken:
            def __getattr__(self, name):
                return getattr(chain, name)

            def send(self, transaction):
                local.payer(chain, database).pay(due)
                chain.send(transaction)

        with pytest.raises(ChainError, match="another process, which was quicker"):
            local.payer(Overtaken(), database).pay(due)
    expect_paid_once(local, due)


def test_a_failed_transaction_is_over_and_its_payments_are_owed_again(local):
    """The wallet's account is frozen after the trial run: it fails in a block, as on a cluster."""
    due = due_of(1, SUPPLIERS)
    with local.chain() as chain, local.database() as database:
        frozen = token_address(wallet_of(0), local.terms.mint)

        class Freezing:
            def __getattr__(self, name):
                return getattr(chain, name)

            def send(self, transaction):
                set_frozen(chain, local, frozen, TokenAccountState.Frozen)
                chain.send(transaction)

        with pytest.raises(ChainError, match=r"1 of the transactions sent failed on chain.*owed"):
            local.payer(Freezing(), database).pay(due)
        store = PaymentStore(database, chain.identity())
        assert store.live() == []
        assert "s00000" not in {each.payment.supplier_id for each in store.payments(1)}
        plan = local.payer(chain, database).pay(due)
        assert [(held.supplier_id, held.reason) for held in plan.held] == [
            ("s00000", "its token account is frozen")
        ]
        set_frozen(chain, local, frozen, TokenAccountState.Initialized)
        local.payer(chain, database).pay(due)
    expect_paid_once(local, due)


def set_frozen(chain, world, address, state) -> None:
    """The test's hand on the chain: what a mint with a freeze authority could do."""
    held = TokenAccount(
        mint=world.terms.mint,
        owner=wallet_of(0),
        amount=0,
        delegate=None,
        state=state,
        is_native=None,
        delegated_amount=0,
        close_authority=None,
    )
    chain._svm.set_account(address, Account(10**7, bytes(held), TOKEN_PROGRAM, False, 0))


def test_without_a_wallet_it_stays_owed_and_is_paid_once_there_is_one(local):
    due = due_of(1, SUPPLIERS + 1)
    with local.chain() as chain, local.database() as database:
        plan = local.payer(chain, database).pay(due)
        assert [(held.supplier_id, held.reason) for held in plan.held] == [
            ("s00020", "no wallet is set")
        ]
        local.set_wallet(WalletStore(database), "s00020", str(wallet_of(20)))
        plan = local.payer(chain, database).pay(due)
        assert [payee.supplier_id for batch in plan.batches for payee in batch.payees] == ["s00020"]
    expect_paid_once(local, due)


def test_two_suppliers_with_one_wallet_get_both_sums(local):
    with local.chain() as chain, local.database() as database:
        local.set_wallet(WalletStore(database), "s00001", str(wallet_of(0)))
        local.payer(chain, database).pay(due_of(1, 2))
        assert local.balances(chain, 2) == [1_000 + 1_001, 0]


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({"io_per_epoch_max": 20_966}, r"needs 20967 IO .* the cap is 20966: nothing was sent"),
        ({"lamports_per_epoch_max": 1000}, r"lamports and the cap is 1000: nothing was sent"),
    ],
)
def test_a_cap_stops_an_epoch_before_anything_is_sent(local, terms, problem):
    local.terms = msgspec.structs.replace(local.terms, **terms)
    with local.chain() as chain, local.database() as database:
        with pytest.raises(ChainError, match=problem):
            local.payer(chain, database).pay(due_of(1, SUPPLIERS))
        assert PaymentStore(database, chain.identity()).payments(1) == []
        assert local.funds(chain, database).vault_io == SUPPLY_IO


def test_a_cap_counts_what_was_paid_before(local):
    local.terms = msgspec.structs.replace(local.terms, io_per_epoch_max=20_967)
    with local.chain() as chain, local.database() as database:
        local.payer(chain, database).pay(due_of(1, SUPPLIERS))
        local.set_wallet(WalletStore(database), "s00020", str(wallet_of(20)))
        with pytest.raises(ChainError, match="needs 21987 IO"):
            local.payer(chain, database).pay(due_of(1, SUPPLIERS + 1))


def test_more_than_the_vault_holds_is_refused_before_anything_is_sent(local):
    with local.chain() as chain, local.database() as database:
        with pytest.raises(ChainError, match="the vault holds"):
            local.payer(chain, database).pay(due_of(1, 1, burn_io=SUPPLY_IO))
        assert PaymentStore(database, chain.identity()).live() == []


def test_books_older_than_the_payments_made_pay_nothing_again(tmp_path):
    first = World(tmp_path / "first.db", tmp_path / "first-vm.db")
    first.set_wallets(SUPPLIERS)
    with first.chain() as chain, first.database() as database:
        first.payer(chain, database).pay(due_of(1, 0))
    older = first.copy(tmp_path / "older")
    with first.chain() as chain, first.database() as database:
        first.payer(chain, database).pay(due_of(2, SUPPLIERS))
    with first.chain() as chain, older.database() as database:
        payer = first.payer(chain, database)
        with pytest.raises(ChainError, match="these books are older than the payments made"):
            payer.pay(due_of(2, SUPPLIERS))
        assert first.balances(chain, SUPPLIERS) == [1_000 + n for n in range(SUPPLIERS)]
        payer.open("looked into")
        payer.pay(due_of(3, 0))


def test_a_trial_run_that_fails_signs_nothing(local):
    due = due_of(1, 1)
    with local.chain() as chain, local.database() as database:

        class Dry:
            def __getattr__(self, name):
                return getattr(chain, name)

            def simulate(self, transaction):
                return '{"InstructionError":[1,{"Custom":1}]}'

        with pytest.raises(ChainError, match=r"for s00000 would fail: .*Nothing of it was sent"):
            local.payer(Dry(), database).pay(due)
        assert PaymentStore(database, chain.identity()).live() == []


def test_another_token_or_payer_on_the_same_chain_is_refused(local):
    with local.chain() as chain, local.database() as database:
        local.payer(chain, database).pay(due_of(1, 1))
        local.terms = msgspec.structs.replace(local.terms, mint=key_of(9).pubkey())
        with pytest.raises(ChainError, match="set mint and authority_key_file back"):
            local.payer(chain, database).pay(due_of(2, 1))


def test_the_memo_says_the_epoch_and_its_root(local):
    with local.chain() as chain, local.database() as database:
        seen = []

        class Listening:
            def __getattr__(self, name):
                return getattr(chain, name)

            def send(self, transaction):
                seen.append(transaction)
                chain.send(transaction)

        local.payer(Listening(), database).pay(due_of(12, 0, burn_io=5))
        (sent,) = seen
    assert f"tollgate epoch 12 root {ROOT} head {HEAD}".encode() in sent
    assert struct.pack("<BQB", 15, 5, 8) in sent
