"""What the engine carries from one epoch to the next."""

from __future__ import annotations

import msgspec

from ide.params import IdeParams


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """USD owed to a supplier that earlier epochs could not pay."""

    supplier_id: str
    nano_usd: int


class Smoothed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nano-USD an epoch, smoothed over the epochs so far; None before the first.

    `stipend` and `list_share` are the parts of `obligation` that hardware prices and customers'
    prices move. `deficit_s` is for how long psi has been below 1 without a break.
    """

    revenue_nano_usd: int
    obligation_nano_usd: int
    stipend_nano_usd: int
    list_share_nano_usd: int
    deficit_s: int


class IdeState(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
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
    smoothed: Smoothed | None = None


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


def reserve_nano_usd(state: IdeState, params: IdeParams) -> int:
    """What the Fee Vault has above its floor, less the buyback due; below 0 it fills up first."""
    held = state.fee_vault_nano_usd - state.buyback_due_nano_usd
    return held - params.fee_vault_floor_nano_usd
