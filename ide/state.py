"""What the engine carries from one epoch to the next."""

from __future__ import annotations

import msgspec

from ide.params import IdeParams


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """USD owed to a supplier that earlier epochs could not pay."""

    supplier_id: str
    nano_usd: int


class IdeState(msgspec.Struct, frozen=True, kw_only=True):
    """Vaults, supply and debts after `epoch` epochs. IO in base units, USD in nano-USD.

    The six IO fields that follow `cap_io` always add up to it. `circulating_io` is what the
    market holds, `supplier_io` what suppliers were paid and still keep on the ledger; the Fee
    Vault includes `buyback_due_nano_usd`, which is spoken for and pays nobody.
    """

    epoch: int
    cap_io: int
    unemitted_io: int
    reward_vault_io: int
    circulating_io: int
    supplier_io: int
    burned_circulating_io: int
    retired_unemitted_io: int
    fee_vault_nano_usd: int
    buyback_due_nano_usd: int
    debts: tuple[Debt, ...]


def opening_state(params: IdeParams) -> IdeState:
    """The state before the first epoch: the old schedule's unemitted rest, and all else issued."""
    return IdeState(
        epoch=0,
        cap_io=params.cap_io,
        unemitted_io=params.unemitted_opening_io,
        reward_vault_io=0,
        circulating_io=params.cap_io - params.unemitted_opening_io,
        supplier_io=0,
        burned_circulating_io=0,
        retired_unemitted_io=0,
        fee_vault_nano_usd=0,
        buyback_due_nano_usd=0,
        debts=(),
    )
