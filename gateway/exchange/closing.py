"""The row that closes a charge, and what of an answer is free. Pure."""

from __future__ import annotations

from gateway.exchange.attempt import Attempt, Counted
from gateway.exchange.resume import Resume, total_of
from metering.charge import ChargeOutcome, CloseCharge, Leg, OpenCharge
from metering.usage import UsageSource


def closing(
    charge: OpenCharge,
    attempt: Attempt,
    outcome: ChargeOutcome,
    counted: Counted | None,
    resume: Resume | None,
    *,
    started_ns: int,
    now_ns: int,
    first_byte_ns: int | None,
) -> CloseCharge:
    """Without a single generated token it is free, however it ended, if there were to be any.
    The times are by the monotonic clock.
    """
    node_id, supplier_id = attempt.node.node_id, attempt.node.supplier_id
    legs: tuple[Leg, ...] = ()
    if resume is not None and (together := resume.legs_with(attempt, counted)):
        *before, last = together
        node_id, supplier_id, legs = last.node_id, last.supplier_id, tuple(before)
        counted = total_of(together), UsageSource.COUNTED
    usage, source = counted or (None, None)
    if usage is not None and not usage.completion_tokens and attempt.question.endpoint.generates:
        usage = source = None
    if usage is None and outcome is ChargeOutcome.COMPLETED:
        outcome = ChargeOutcome.EMPTY
    return CloseCharge(
        charge_id=charge.charge_id,
        outcome=outcome,
        node_id=node_id,
        supplier_id=supplier_id,
        usage=usage,
        usage_source=source,
        closed_ns=charge.created_ns + now_ns - started_ns,
        ttft_ns=None if first_byte_ns is None else first_byte_ns - started_ns,
        legs=legs,
    )
