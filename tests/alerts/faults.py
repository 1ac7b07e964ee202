"""The five worst things that happen, each done for real, and the alert that must say so."""

from __future__ import annotations

from collections.abc import AsyncIterator

from serving.fake_faults import Fault

from .stack import Stack

WORST = {
    "TollgatePsiBelowOne",
    "TollgateNodeDead",
    "TollgateErrorBurnFast",
    "TollgateLedgerDown",
    "TollgateSpoolFilling",
}


async def faults(stack: Stack, *, within_s: float) -> AsyncIterator[tuple[str, str, float]]:
    """What was done, the alert, and the seconds until it fired. The load goes on meanwhile."""
    await stack.settle(dear=True)
    yield "suppliers earn more than is paid", *await _fired(stack, "TollgatePsiBelowOne", within_s)
    stack.nodes[0].drop_connections()
    await stack.nodes[0].inject(Fault(refuse_connections=True))
    yield "a node dies", *await _fired(stack, "TollgateNodeDead", within_s)
    for node in stack.nodes[1:]:
        await node.inject(Fault(status=500))
    yield "every answer is a 500", *await _fired(stack, "TollgateErrorBurnFast", within_s)
    for node in stack.nodes[1:]:
        await node.inject(Fault())
    stack.postgres.stop_at_once()
    yield "PostgreSQL dies", *await _fired(stack, "TollgateLedgerDown", within_s)
    yield "and stays dead", *await _fired(stack, "TollgateSpoolFilling", within_s)
    stack.postgres.start()


async def _fired(stack: Stack, alert: str, within_s: float) -> tuple[str, float]:
    return alert, await stack.fires(alert, within_s=within_s)
