"""From an epoch's report to the transfers that book it, and from the books to what they say of IO.

    genesis   io:issuance     -> io:unemitted | io:circulating
    release   io:unemitted    -> io:reward_vault
    retire    io:unemitted    -> io:retired
    pay-io    io:reward_vault -> io:supplier:<id>
    pay-usd   usd:fee_vault   -> usd:supplier:<id>
    buy-usd   usd:fee_vault   -> usd:exchange
    buy-io    io:circulating  -> io:exchange
    burn      io:exchange     -> io:burned
    slash     io:slashed      -> io:burned

A transfer's id is made of its epoch and leg, so booking an epoch twice cannot pay twice; that of a
slash is made of the slash (`stake_journal.py`), which burns once in all epochs. Its detail
carries the state's hash: the ledger's own hash chain then covers what the epoch was worked out to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ide.canonical import record_hash
from ide.epoch import EpochResult, SlashBurn
from ide.invariants import Books
from ide.params import IdeParams
from ide.stake_journal import slash_end_id
from ide.state import opening_state
from metering import accounts
from metering.accounts import Asset
from metering.ledger import AccountBalance
from metering.transfer import Group, Transfer, TransferKind

_SUPPLIER_IO = accounts.supplier(Asset.IO, "x").removesuffix("x")


class _Detail(msgspec.Struct, frozen=True):
    epoch: int
    state: str


def genesis_group(params: IdeParams) -> Group:
    """All IO there will ever be, issued once: to the unemitted pool and to its holders."""
    opening = opening_state(params)
    return Group(
        transfers=(
            _genesis("unemitted", accounts.IO_UNEMITTED, opening.unemitted_io),
            _genesis("circulating", accounts.IO_CIRCULATING, opening.circulating_io),
        )
    )


def _genesis(leg: str, credit: str, amount: int) -> Transfer:
    return Transfer(
        id=f"io-genesis:{leg}",
        kind=TransferKind.SINGLE,
        debit=accounts.IO_ISSUANCE,
        credit=credit,
        amount=amount,
        code="ide-genesis",
    )


def epoch_group(result: EpochResult, slashed: Iterable[SlashBurn]) -> Group | None:
    """The legs of an epoch, linked: all are booked or none. None if nothing moved.

    `slashed` are those of its inputs. Raises AccountError for a supplier id that no account can
    have.
    """
    report = result.report
    state_hash = record_hash(result.state)
    detail = msgspec.json.encode(_Detail(report.epoch, state_hash), order="sorted").decode()

    def leg(name: str, debit: str, credit: str, amount: int, own_id: str = "") -> Transfer:
        code, _, _ = name.partition(":")
        return Transfer(
            id=own_id or f"epoch-{report.epoch}:{name}",
            kind=TransferKind.SINGLE,
            debit=debit,
            credit=credit,
            amount=amount,
            code=f"ide-{code}",
            detail=detail,
        )

    legs = [
        leg("release", accounts.IO_UNEMITTED, accounts.IO_REWARD_VAULT, report.io_released),
        leg("retire", accounts.IO_UNEMITTED, accounts.IO_RETIRED, report.io_retired),
    ]
    for row in report.payouts:
        in_io = accounts.supplier(Asset.IO, row.supplier_id)
        in_usd = accounts.supplier(Asset.USD, row.supplier_id)
        legs += (
            leg(f"pay-io:{row.supplier_id}", accounts.IO_REWARD_VAULT, in_io, row.io_paid),
            leg(
                f"pay-usd:{row.supplier_id}", accounts.USD_FEE_VAULT, in_usd, row.usd_paid_nano_usd
            ),
        )
    legs += (
        leg(
            "buy-usd", accounts.USD_FEE_VAULT, accounts.USD_EXCHANGE, report.buyback_spent_nano_usd
        ),
        leg("buy-io", accounts.IO_CIRCULATING, accounts.IO_EXCHANGE, report.io_bought),
        leg("burn", accounts.IO_EXCHANGE, accounts.IO_BURNED, report.io_bought),
    )
    legs += [
        leg("slash", accounts.IO_SLASHED, accounts.IO_BURNED, row.io, slash_end_id(row.hold_id))
        for row in slashed
    ]
    moved = tuple(transfer for transfer in legs if transfer.amount)
    return Group(transfers=moved) if moved else None


def posted_balances(trial_balance: Iterable[AccountBalance]) -> dict[str, int]:
    """What every account holds, by its id."""
    return {line.account: line.balance.posted for line in trial_balance}


def posted_after(posted: Mapping[str, int], group: Group | None) -> dict[str, int]:
    """What every account would hold once the group is booked."""
    after = dict(posted)
    for transfer in group.transfers if group else ():
        after[transfer.debit] = after.get(transfer.debit, 0) - transfer.amount
        after[transfer.credit] = after.get(transfer.credit, 0) + transfer.amount
    return after


def books_of(posted: Mapping[str, int]) -> Books:
    """The accounts that the engine moves, out of all."""
    return Books(
        issued_io=-posted.get(accounts.IO_ISSUANCE, 0),
        unemitted_io=posted.get(accounts.IO_UNEMITTED, 0),
        reward_vault_io=posted.get(accounts.IO_REWARD_VAULT, 0),
        circulating_io=posted.get(accounts.IO_CIRCULATING, 0),
        treasury_io=posted.get(accounts.IO_TREASURY, 0),
        supplier_io=sum(
            amount for account, amount in posted.items() if account.startswith(_SUPPLIER_IO)
        ),
        stake_io=posted.get(accounts.IO_SLASHED, 0)
        + sum(amount for account, amount in posted.items() if accounts.staked_device(account)),
        exchange_io=posted.get(accounts.IO_EXCHANGE, 0),
        burned_io=posted.get(accounts.IO_BURNED, 0),
        retired_io=posted.get(accounts.IO_RETIRED, 0),
        fee_vault_nano_usd=posted.get(accounts.USD_FEE_VAULT, 0),
    )
