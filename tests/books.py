"""Charges and transfers as the tests of several rooms need them."""

from __future__ import annotations

from metering.accounts import USD_EXTERNAL, customer
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge
from metering.prices import ModelPrice
from metering.transfer import Group, Transfer, TransferKind
from metering.usage import Usage, UsageSource

PRICE = ModelPrice(
    version="v1", prompt_nano_usd=200, cached_prompt_nano_usd=50, completion_nano_usd=600
)


def opened(charge_id: str, *, account: str = "alice", hold: int = 1_000_000) -> OpenCharge:
    return OpenCharge(
        charge_id=charge_id,
        request_id=f"req_{charge_id}",
        account=account,
        key_id="key_1",
        model="tiny",
        price=PRICE,
        hold_nano_usd=hold,
        prompt_tokens_estimate=10,
        created_ns=1_700_000_000_000_000_000,
    )


def used(completion: int, prompt: int = 10, cached: int = 0) -> Usage:
    return Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)


def progressed(charge_id: str, completion: int) -> ChargeProgress:
    return ChargeProgress(
        charge_id=charge_id, node_id="node-1", supplier_id="sup-1", usage=used(completion)
    )


def closed(charge_id: str, usage: Usage | None = None) -> CloseCharge:
    """Billed at the usage; voided without."""
    return CloseCharge(
        charge_id=charge_id,
        outcome=ChargeOutcome.COMPLETED if usage else ChargeOutcome.NO_CAPACITY,
        node_id="node-1" if usage else None,
        supplier_id="sup-1" if usage else None,
        usage=usage,
        usage_source=UsageSource.NODE if usage else None,
        closed_ns=1_700_000_001_000_000_000,
        ttft_ns=5_000_000 if usage else None,
    )


def deposit(account: str, amount: int, name: str = "1") -> Group:
    return single(f"deposit:{account}:{name}", USD_EXTERNAL, customer(account), amount)


def single(name: str, debit: str, credit: str, amount: int) -> Group:
    transfer = Transfer(
        id=name,
        kind=TransferKind.SINGLE,
        debit=debit,
        credit=credit,
        amount=amount,
        code="test",
    )
    return Group(transfers=(transfer,))
