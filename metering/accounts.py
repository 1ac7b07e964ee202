"""The chart of accounts: which accounts there are, in which asset, and which may be overdrawn.

    money in     usd:external  ->  usd:customer:<account>  ->  usd:treasury      its fee, if any
    IO in        usd:exchange  ->  usd:customer:<account>, io:circulating  ->  io:treasury
    credit       usd:credit_line:<account>  ->  usd:customer:<account>   and back: the line lowered
    SLA          usd:sla_credit  ->  usd:customer:<account>
    a charge     usd:customer:<account>  ->  usd:fee_vault      a hold first, then at most that
    beyond it    usd:shortfall  ->  usd:fee_vault               what nobody paid for
    an epoch     usd:fee_vault  ->  usd:exchange, usd:supplier:<id>
    IO           io:issuance  ->  io:unemitted | io:circulating | io:reward_vault, ... io:burned
    a stake      io:circulating  ->  io:stake:<device>   and back
    a slash      io:stake:<device>  ->  io:slashed       a month; then io:burned, or back

An account comes into being when it is first used. IO's supply is accounts too: all that was ever
issued is the debit balance of io:issuance, so the cap on the supply is a line of the trial balance.
What is staked, or held for appeal in io:slashed, still circulates to the engine.

io:treasury holds what customers paid in IO, and nothing else: the network's own, still a part of
what circulates for the engine's arithmetic. What usd:exchange gave for it is that account's debit
balance, and a buyback's usd:fee_vault -> usd:exchange makes up for it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache


class AccountError(ValueError):
    """A name that no account can have."""


class Asset(StrEnum):
    USD = "usd"
    IO = "io"


class Limit(StrEnum):
    """What an account's balance may do."""

    NONE = "none"
    """A source: its debits may exceed its credits."""
    DEBITS_WITHIN_CREDITS = "debits_within_credits"
    """Posted and pending debits together never exceed posted credits."""


USD_EXTERNAL = "usd:external"
USD_FEE_VAULT = "usd:fee_vault"
USD_SHORTFALL = "usd:shortfall"
USD_TREASURY = "usd:treasury"
USD_SLA = "usd:sla_credit"
USD_EXCHANGE = "usd:exchange"
IO_ISSUANCE = "io:issuance"
IO_UNEMITTED = "io:unemitted"
IO_CIRCULATING = "io:circulating"
IO_REWARD_VAULT = "io:reward_vault"
IO_EXCHANGE = "io:exchange"
IO_TREASURY = "io:treasury"
IO_BURNED = "io:burned"
IO_RETIRED = "io:retired"
IO_SLASHED = "io:slashed"

_SOURCES = frozenset(
    {
        USD_EXTERNAL,
        USD_SHORTFALL,
        USD_EXCHANGE,
        USD_SLA,
        IO_ISSUANCE,
        IO_EXCHANGE,
    }
)
_SINGLES = _SOURCES | {
    USD_FEE_VAULT,
    USD_TREASURY,
    IO_UNEMITTED,
    IO_CIRCULATING,
    IO_REWARD_VAULT,
    IO_TREASURY,
    IO_BURNED,
    IO_RETIRED,
    IO_SLASHED,
}
_CACHED = 65_536
"""Answers kept for accounts in use: each charge asks several times."""

_CUSTOMER = "usd:customer:"
_CREDIT_LINE = "usd:credit_line:"
_STAKE = "io:stake:"
_NAME = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)
_SUPPLIER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_FAMILIES = {
    _CUSTOMER: _NAME,
    _CREDIT_LINE: _NAME,
    "usd:supplier:": _SUPPLIER_NAME,
    "io:supplier:": _SUPPLIER_NAME,
    _STAKE: _SUPPLIER_NAME,
}


def check_name(account: str) -> str:
    """A customer's name itself. Raises AccountError if no account can be named so."""
    if _NAME.fullmatch(account) is None:
        raise AccountError(
            f"'{account}' is no account name: use 1 to 64 of a-z, 0-9, dot, dash and underscore"
        )
    return account


@lru_cache(_CACHED)
def customer(account: str) -> str:
    """The id of a customer's prepaid balance. Raises AccountError."""
    return _CUSTOMER + check_name(account)


def credit_line(account: str) -> str:
    """The id of what a customer was lent: a source, whose debit balance is the line itself.

    Raises AccountError.
    """
    return _CREDIT_LINE + check_name(account)


def supplier(asset: Asset, supplier_id: str) -> str:
    """The id of what a supplier was paid in one asset. Raises AccountError."""
    if _SUPPLIER_NAME.fullmatch(supplier_id) is None:
        raise AccountError(
            f"'{supplier_id}' is no supplier id: use 1 to 64 letters, digits, dots, dashes and "
            "underscores"
        )
    return f"{asset}:supplier:{supplier_id}"


def stake(device: str) -> str:
    """The id of what is staked behind a device. Raises AccountError."""
    if _SUPPLIER_NAME.fullmatch(device) is None:
        raise AccountError(
            f"'{device}' is no device: use 1 to 64 letters, digits, dots, dashes and underscores"
        )
    return _STAKE + device


def staked_device(account_id: str) -> str | None:
    """The device that this is the stake of; None if it is no stake."""
    return account_id[len(_STAKE) :] if account_id.startswith(_STAKE) else None


def customer_name(account_id: str) -> str | None:
    """The customer whose balance this is; None if it is no customer's."""
    return account_id[len(_CUSTOMER) :] if account_id.startswith(_CUSTOMER) else None


@lru_cache(_CACHED)
def asset_of(account_id: str) -> Asset | None:
    """The asset of an account of the chart; None if there is no such account."""
    family, separator, name = account_id.rpartition(":")
    pattern = _FAMILIES.get(family + separator)
    if account_id not in _SINGLES and (pattern is None or pattern.fullmatch(name) is None):
        return None
    return Asset(account_id.partition(":")[0])


def limit_of(account_id: str) -> Limit:
    is_source = account_id in _SOURCES or account_id.startswith(_CREDIT_LINE)
    return Limit.NONE if is_source else Limit.DEBITS_WITHIN_CREDITS
