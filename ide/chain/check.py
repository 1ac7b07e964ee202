"""Holds the ledger, the payments written down and the chain against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ide.chain.payment import Opening
from ide.chain.plan import CLOSING, Funds


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Two figures that should be one, in base units of IO. `where` names supplier or figure."""

    where: str
    expected_io: int
    found_io: int


class WalletBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What a wallet was paid and what it holds. They part when its owner moves tokens."""

    wallet: str
    paid_io: int
    held_io: int


class ChainCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`topped_up_io` came into the vault otherwise since the opening."""

    paid_io: int
    burned_io: int
    owed_io: int
    burn_owed_io: int
    supply_io: int
    vault_io: int
    topped_up_io: int
    differences: tuple[Difference, ...]
    wallets: tuple[WalletBalance, ...]

    @property
    def agrees(self) -> bool:
        return not self.differences


def check_chain(
    *,
    ledger_io: Mapping[str, int],
    settled_io: Mapping[str, int],
    paid_io: Mapping[str, int],
    opening: Opening,
    funds: Funds,
    wallets: Sequence[WalletBalance],
) -> ChainCheck:
    """The first three by supplier, what was burned under `CLOSING`: what the ledger's accounts
    hold, what all epochs' reports sum to, and what finalized transactions moved.
    """
    paid = {name: io for name, io in paid_io.items() if name != CLOSING}
    burned = paid_io.get(CLOSING, 0)
    expected_supply = opening.supply_io - (burned - opening.burned_io)
    least = vault_least(opening, paid_io)
    differences = [*_differ(settled_io, ledger_io), *_overpaid(ledger_io, paid_io)]
    if funds.supply_io != expected_supply:
        differences.append(
            Difference(where="supply", expected_io=expected_supply, found_io=funds.supply_io)
        )
    if funds.vault_io < least:
        differences.append(Difference(where="vault", expected_io=least, found_io=funds.vault_io))
    in_ledger = sum(io for name, io in ledger_io.items() if name != CLOSING)
    return ChainCheck(
        paid_io=sum(paid.values()),
        burned_io=burned,
        owed_io=in_ledger - sum(paid.values()),
        burn_owed_io=ledger_io.get(CLOSING, 0) - burned,
        supply_io=funds.supply_io,
        vault_io=funds.vault_io,
        topped_up_io=max(0, funds.vault_io - least),
        differences=tuple(differences),
        wallets=tuple(wallets),
    )


def vault_least(opening: Opening, paid_io: Mapping[str, int]) -> int:
    """What the vault must still hold: only finalized payments and burns take out of it."""
    return opening.vault_io - (sum(paid_io.values()) - opening.paid_io - opening.burned_io)


def _differ(settled: Mapping[str, int], ledger: Mapping[str, int]) -> list[Difference]:
    """The ledger against the reports of its epochs."""
    return [
        Difference(
            where=_name(name), expected_io=settled.get(name, 0), found_io=ledger.get(name, 0)
        )
        for name in sorted({*settled, *ledger})
        if settled.get(name, 0) != ledger.get(name, 0)
    ]


def _overpaid(ledger: Mapping[str, int], paid: Mapping[str, int]) -> list[Difference]:
    """Nobody may have got more on chain than the ledger says."""
    return [
        Difference(where=_name(name), expected_io=ledger.get(name, 0), found_io=io)
        for name, io in sorted(paid.items())
        if io > ledger.get(name, 0)
    ]


def _name(name: str) -> str:
    return name or "burned"
