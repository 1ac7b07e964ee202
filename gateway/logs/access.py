"""A line for requests as they end: who asked what of which node, and how it ended. Never a prompt,
an answer or a key.
"""

from __future__ import annotations

import logging
import time

from gateway.errors import ApiError
from gateway.exchange.exchange import Exchange
from metering.charge import ChargeOutcome
from metering.prices import cost_nano_usd

log = logging.getLogger("tollgate.access")

_WELL = frozenset({ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY, ChargeOutcome.CLIENT_GONE})
_MS = 1_000_000


class AccessLog:
    """Of those that went well one in `one_in`, the first among them; of the others each."""

    def __init__(self, one_in: int) -> None:
        self._one_in = one_in
        self._left = 1

    def ended(self, exchange: Exchange) -> None:
        """Called once for every exchange."""
        outcome = exchange.outcome
        assert outcome is not None
        if outcome not in _WELL:
            log.warning("request", extra={"fields": _told(exchange)})
            return
        self._left -= 1
        if not self._left:
            self._left = self._one_in
            log.info("request", extra={"fields": _told(exchange)})

    def refused(self, endpoint: str, error: ApiError) -> None:
        """A request was turned away before a node was dialled. Neither what the error says nor the
        parameter that it names is told: they may quote the request.
        """
        fields = {
            "request_id": error.request_id,
            "endpoint": endpoint,
            "model": error.model,
            "status": error.status,
            "code": error.code,
        }
        told = {name: value for name, value in fields.items() if value is not None}
        log.info("refused", extra={"fields": told})


def _told(exchange: Exchange) -> dict[str, object]:
    charge, question, attempt = exchange.charge, exchange.question, exchange.attempt
    told: dict[str, object] = {
        "request_id": charge.request_id,
        "account": charge.account,
        "key_id": charge.key_id,
        "endpoint": question.endpoint.value,
        "model": charge.model,
        "stream": question.stream,
        "node": attempt.node.node_id,
        "supplier": attempt.node.supplier_id,
        "attempts": exchange.attempts,
        "outcome": exchange.outcome,
        "duration_ms": round((time.monotonic_ns() - exchange.started_ns) / _MS, 3),
    }
    if exchange.ttft_ns is not None:
        told["ttft_ms"] = round(exchange.ttft_ns / _MS, 3)
    usage = exchange.usage
    if usage is not None:
        told["prompt_tokens"] = usage.prompt_tokens
        told["completion_tokens"] = usage.completion_tokens
        told["cost_nano_usd"] = cost_nano_usd(charge.price, usage)
    return told
