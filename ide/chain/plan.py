"""From what an epoch owes to transactions, in an order that depends on nothing else.

A batch is as many payees as fit one transaction: 1,232 bytes, and the compute units that it asks
for. The closing batch burns what was bought back and writes the epoch's memo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey

from ide.chain import instructions
from ide.chain.account_data import no_wallet, unfit
from ide.chain.address import nonce_address, parse_wallet, token_address, token_address_misses
from ide.chain.chain import AccountState
from metering.money import mul_div_ceil

CLOSING = ""
"""In place of a supplier's id: the burn and the memo."""

COMPUTE_UNITS_MAX = 1_400_000
_UNITS_BASE = 5_000
_UNITS_TRANSFER = 10_000
_UNITS_CREATE = 35_000
_UNITS_MISS = 3_000
_UNITS_BURN = 10_000
_UNITS_MEMO = 100_000
"""Bounds, from the older and dearer of the token programs in use."""

_LAMPORTS_SIGNATURE = 5_000
_MICRO = 1_000_000


class EpochDue(msgspec.Struct, frozen=True, kw_only=True):
    """What a settled epoch moves on chain, in base units of IO by supplier, none of them zero.

    The memo commits to `root`, of the payouts, and to `head_hash`, of all epochs so far: both hex.
    """

    epoch: int
    root: str
    head_hash: str
    payouts: Mapping[str, int]
    burn_io: int


class ChainTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays, which token, and what at most. Caps are of one epoch; None is without cap."""

    authority: Pubkey
    mint: Pubkey
    nonce_accounts: int
    compute_unit_price_micro_lamports: int = 0
    io_per_epoch_max: int | None = None
    lamports_per_epoch_max: int | None = None
    polls_max: int = 1
    """How often to ask whether transactions are final before giving up until the next run."""

    def nonce_addresses(self) -> list[Pubkey]:
        return [nonce_address(self.authority, number) for number in range(self.nonce_accounts)]


class Funds(msgspec.Struct, frozen=True, kw_only=True):
    """What the payer has: base units of IO in the vault, lamports in its wallet."""

    supply_io: int
    vault_io: int
    lamports: int


class Payee(msgspec.Struct, frozen=True, kw_only=True):
    supplier_id: str
    wallet: Pubkey
    io: int
    makes_account: bool
    """The wallet has no token account yet."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A payout that stays owed, and why."""

    supplier_id: str
    io: int
    reason: str


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction to be. Lamports: the fee, and the rent of accounts it makes."""

    payees: tuple[Payee, ...]
    burn_io: int
    memo: str | None
    units: int
    lamports: int

    @property
    def io(self) -> int:
        """All that leaves the vault."""
        return sum(payee.io for payee in self.payees) + self.burn_io

    def message(self, terms: ChainTerms, nonce: Pubkey, value: Hash) -> Message:
        return instructions.nonce_message(terms.authority, nonce, value, _instructions(self, terms))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    batches: tuple[Batch, ...]
    held: tuple[Held, ...]

    @property
    def io(self) -> int:
        return sum(batch.io for batch in self.batches)

    @property
    def lamports(self) -> int:
        return sum(batch.lamports for batch in self.batches)


def payees_of(
    payouts: Mapping[str, int],
    wallets: Mapping[str, str],
    mint: Pubkey,
    accounts: Mapping[Pubkey, AccountState | None],
) -> tuple[list[Payee], list[Held]]:
    """Who can be paid and who cannot, ordered by supplier.

    `accounts` holds each wallet and its token account as they are on chain.
    """
    payees: list[Payee] = []
    held: list[Held] = []
    for supplier_id, io in sorted(payouts.items()):
        address = wallets.get(supplier_id)
        if address is None:
            held.append(Held(supplier_id=supplier_id, io=io, reason="no wallet is set"))
            continue
        wallet = parse_wallet(address)
        tokens = accounts[token_address(wallet, mint)]
        reason = no_wallet(accounts[wallet]) or unfit(wallet, mint, tokens)
        if reason is not None:
            held.append(Held(supplier_id=supplier_id, io=io, reason=reason))
            continue
        missing = tokens is None or not tokens.data
        payee = Payee(supplier_id=supplier_id, wallet=wallet, io=io, makes_account=missing)
        payees.append(payee)
    return payees, held


def batches_of(payees: Sequence[Payee], terms: ChainTerms, rent_lamports: int) -> list[Batch]:
    """As few transactions as the order allows; `rent_lamports` is that of a token account."""
    batches: list[Batch] = []
    taken: list[Payee] = []
    for payee in payees:
        if taken and not _fits([*taken, payee], terms, rent_lamports):
            batches.append(_payouts(taken, terms, rent_lamports))
            taken = []
        taken.append(payee)
    return [*batches, _payouts(taken, terms, rent_lamports)] if taken else batches


def closing_batch(due: EpochDue, terms: ChainTerms) -> Batch:
    """The burn, if there is one, and the memo that commits to the epoch."""
    units = _UNITS_BASE + _UNITS_MEMO + (_UNITS_BURN if due.burn_io else 0)
    return Batch(
        payees=(),
        burn_io=due.burn_io,
        memo=f"tollgate epoch {due.epoch} root {due.root} head {due.head_hash}",
        units=units,
        lamports=_fee(units, terms),
    )


def _payouts(payees: Sequence[Payee], terms: ChainTerms, rent_lamports: int) -> Batch:
    units = _UNITS_BASE + sum(_units(payee, terms.mint) for payee in payees)
    rent = rent_lamports * sum(payee.makes_account for payee in payees)
    return Batch(
        payees=tuple(payees),
        burn_io=0,
        memo=None,
        units=units,
        lamports=rent + _fee(units, terms),
    )


def _fits(payees: Sequence[Payee], terms: ChainTerms, rent_lamports: int) -> bool:
    batch = _payouts(payees, terms, rent_lamports)
    if batch.units > COMPUTE_UNITS_MAX:
        return False
    message = batch.message(terms, nonce_address(terms.authority, 0), Hash.default())
    return instructions.transaction_size(message) <= instructions.TRANSACTION_BYTES_MAX


def _units(payee: Payee, mint: Pubkey) -> int:
    if not payee.makes_account:
        return _UNITS_TRANSFER
    misses = token_address_misses(payee.wallet, mint)
    return _UNITS_TRANSFER + _UNITS_CREATE + _UNITS_MISS * misses


def _fee(units: int, terms: ChainTerms) -> int:
    price = terms.compute_unit_price_micro_lamports
    return _LAMPORTS_SIGNATURE + mul_div_ceil(units, price, _MICRO)


def _instructions(batch: Batch, terms: ChainTerms) -> list[Instruction]:
    authority, mint = terms.authority, terms.mint
    made = instructions.budget(batch.units, terms.compute_unit_price_micro_lamports)
    for payee in batch.payees:
        if payee.makes_account:
            made.append(instructions.create_token_account(authority, payee.wallet, mint))
        made.append(instructions.transfer(authority, payee.wallet, mint, payee.io))
    if batch.burn_io:
        made.append(instructions.burn(authority, mint, batch.burn_io))
    if batch.memo is not None:
        made.append(instructions.memo(authority, batch.memo))
    return made
