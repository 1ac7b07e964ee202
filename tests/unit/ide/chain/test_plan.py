"""Wallets that can be paid, batches within a transaction's limits, verdicts, key files."""

from __future__ import annotations

import os

import pytest
from chain_world import due_of, key_of, wallet_of
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.token.state import TokenAccount, TokenAccountState

from ide.chain.account_data import no_wallet, read_mint, read_nonce, unfit
from ide.chain.address import (
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    AddressError,
    nonce_address,
    parse_wallet,
    token_address,
)
from ide.chain.chain import AccountState, ChainError, TransactionStatus
from ide.chain.instructions import TRANSACTION_BYTES_MAX, signed, transaction_size
from ide.chain.key_file import make_key, read_key
from ide.chain.plan import (
    COMPUTE_UNITS_MAX,
    ChainTerms,
    Payee,
    batches_of,
    closing_batch,
    payees_of,
)
from ide.chain.verdict import Verdict, verdict

KEY = key_of(1)
MINT = key_of(2).pubkey()
RENT = 2_039_280


def terms(**changes) -> ChainTerms:
    return ChainTerms(authority=KEY.pubkey(), mint=MINT, nonce_accounts=2, **changes)


def token_account(**changes) -> AccountState:
    held = {
        "mint": MINT,
        "owner": wallet_of(0),
        "amount": 5,
        "delegate": None,
        "state": TokenAccountState.Initialized,
        "is_native": None,
        "delegated_amount": 0,
        "close_authority": None,
    }
    data = bytes(TokenAccount(**{**held, **changes}))
    return AccountState(owner=TOKEN_PROGRAM, lamports=RENT, data=data)


def test_a_wallet_is_on_the_curve_and_no_program():
    wallet = wallet_of(0)
    assert parse_wallet(str(wallet)) == wallet
    tokens = token_address(wallet, MINT)
    with pytest.raises(AddressError, match="such as a token account, and no wallet"):
        parse_wallet(str(tokens))
    for text in ("", "I" * 44, str(wallet)[:-2], str(wallet) + "1"):
        with pytest.raises(AddressError, match="is no Solana address"):
            parse_wallet(text)


@given(
    created=st.lists(st.booleans(), max_size=60),
    price=st.sampled_from([0, 1, 10**6]),
)
def test_batches_keep_the_order_lose_nobody_and_fit_a_transaction(created, price):
    payees = [
        Payee(supplier_id=f"s{n:03}", wallet=wallet_of(n), io=n + 1, makes_account=new)
        for n, new in enumerate(created)
    ]
    chosen = terms(compute_unit_price_micro_lamports=price)
    batches = batches_of(payees, chosen, RENT)
    assert [payee for batch in batches for payee in batch.payees] == payees
    nonce = nonce_address(KEY.pubkey(), 0)
    for batch in batches:
        message = batch.message(chosen, nonce, Hash.default())
        size = len(bytes(signed(KEY, message)))
        assert transaction_size(message) == size <= TRANSACTION_BYTES_MAX
        assert batch.units <= COMPUTE_UNITS_MAX
        fee = 5_000 - (-batch.units * price // 10**6)
        assert batch.lamports == fee + RENT * sum(p.makes_account for p in batch.payees)


def test_the_closing_batch_fits_even_with_the_largest_numbers():
    due = due_of(2**62, 0, burn_io=2**62)
    message = closing_batch(due, terms()).message(
        terms(), nonce_address(KEY.pubkey(), 0), Hash.default()
    )
    assert transaction_size(message) <= TRANSACTION_BYTES_MAX


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (None, None),
        (AccountState(owner=SYSTEM_PROGRAM, lamports=1, data=b""), None),
        (token_account(), None),
        (token_account(state=TokenAccountState.Frozen), "its token account is frozen"),
        (token_account(owner=wallet_of(1)), "its token account was given to another owner"),
        (token_account(mint=key_of(3).pubkey()), "its token account is of another mint"),
        (
            AccountState(owner=TOKEN_PROGRAM, lamports=1, data=b"x"),
            "its token account's address is taken by something else",
        ),
    ],
)
def test_who_cannot_be_paid_is_held_with_the_reason(tokens, reason):
    wallet = wallet_of(0)
    assert unfit(wallet, MINT, tokens) == reason
    accounts = {wallet: None, token_address(wallet, MINT): tokens}
    payees, held = payees_of({"a": 7}, {"a": str(wallet)}, MINT, accounts)
    assert [each.reason for each in held] == ([] if reason is None else [reason])
    assert sum(each.io for each in [*payees, *held]) == 7
    for payee in payees:
        assert payee.makes_account is (tokens is None or not tokens.data)


def test_an_address_that_turns_out_to_be_a_token_account_is_held():
    """On the curve it may be: a token account can have a key of its own."""
    assert no_wallet(AccountState(owner=SYSTEM_PROGRAM, lamports=1, data=b"")) is None
    wallet = wallet_of(0)
    accounts = {wallet: token_account(), token_address(wallet, MINT): None}
    payees, held = payees_of({"a": 7}, {"a": str(wallet)}, MINT, accounts)
    assert payees == []
    assert "it is no wallet" in held[0].reason


NOW, THEN = Hash(bytes([1]) * 32), Hash(bytes([2]) * 32)


def status(*, finalized=True, error=None) -> TransactionStatus:
    return TransactionStatus(finalized=finalized, slot=9, error=error)


@pytest.mark.parametrize(
    ("nonce_now", "told", "expected"),
    [
        (THEN, None, Verdict.WAITING),
        (NOW, None, Verdict.UNKNOWN),
        (THEN, status(finalized=False), Verdict.WAITING),
        (NOW, status(finalized=False), Verdict.WAITING),
        (NOW, status(finalized=False, error="e"), Verdict.WAITING),
        (NOW, status(), Verdict.LANDED),
        (NOW, status(error="e"), Verdict.FAILED),
        (THEN, status(error="e"), Verdict.WAITING),
    ],
)
def test_only_what_can_never_land_again_has_failed(nonce_now, told, expected):
    assert verdict(THEN, nonce_now, told) is expected


@pytest.mark.parametrize(
    ("account", "problem"),
    [
        (None, "there is no mint"),
        (AccountState(owner=SYSTEM_PROGRAM, lamports=1, data=b""), "is no mint of the SPL"),
        (
            AccountState(
                owner=TOKEN_PROGRAM, lamports=1, data=bytes(44) + bytes([6, 1]) + bytes(36)
            ),
            "has 6 decimals, and the ledger counts IO with 8",
        ),
    ],
)
def test_another_mint_is_refused(account, problem):
    with pytest.raises(ChainError, match=problem):
        read_mint(MINT, account)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (bytes(80), "is no nonce account"),
        (bytes(4) + bytes([1, 0, 0, 0]) + bytes(72), "is not .* to advance"),
        (b"", "is no nonce account"),
    ],
)
def test_a_nonce_account_that_is_not_ours_is_refused(data, problem):
    account = AccountState(owner=SYSTEM_PROGRAM, lamports=1, data=data)
    with pytest.raises(ChainError, match=problem):
        read_nonce(MINT, KEY.pubkey(), account)


def test_a_key_file_is_the_owners_alone(tmp_path):
    file = tmp_path / "key.json"
    made = make_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_key(file) == made
    for mode in (0o604, 0o620, 0o640, 0o666, 0o601):
        os.chmod(file, mode)
        with pytest.raises(ChainError, match=r"is open to others .*chmod 600"):
            read_key(file)
    with pytest.raises(ChainError, match="File exists"):
        make_key(file)


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", "[999]", str([1] * 64)])
def test_a_file_without_a_key_is_refused(tmp_path, text):
    file = tmp_path / "key.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ChainError, match="holds no key pair"):
        read_key(file)
    with pytest.raises(ChainError, match="No such file"):
        read_key(tmp_path / "none")
