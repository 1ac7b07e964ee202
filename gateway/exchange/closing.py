"""The row that closes a charge, and what of an answer is free. Pure."""

from __future__ import annotations

from gateway.exchange.attempt import Attempt, Counted
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge


def closing(
    charge: OpenCharge,
    attempt: Attempt,
    outcome: ChargeOutcome,
    counted: Counted | None,
    *,
    started_ns: int,
    now_ns: int,
) -> CloseCharge:
    """Without a single generated token it is free, however it ended, if there were to be any.
    `started_ns` and `now_ns` are by the monotonic clock.
    """
    usage, source = counted or (None, None)
    if usage is not None and not usage.completion_tokens and attempt.question.endpoint.generates:
        usage = source = None
    if usage is None and outcome is ChargeOutcome.COMPLETED:
        outcome = ChargeOutcome.EMPTY
    first_byte_ns = attempt.first_byte_ns
    return CloseCharge(
        charge_id=charge.charge_id,
        outcome=outcome,
        node_id=attempt.node.node_id,
        supplier_id=attempt.node.supplier_id,
        usage=usage,
        usage_source=source,
        closed_ns=charge.created_ns + now_ns - started_ns,
        ttft_ns=None if first_byte_ns is None else first_byte_ns - started_ns,
    )
