"""What a request leaves as a trace, in OpenTelemetry's names for generative AI. Pure.

POST /v1/chat/completions     accepted ... the last byte of its answer (or booked, if later)
  chat MODEL                  sent to a node ... the node's last byte; an event at its first. One
                              for every node tried: those that failed are errors
  record                      the charge's closing row on its way to the disk
  book                        on its way into the ledger
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from gateway.exchange.attempt import Attempt, Lost
from gateway.exchange.exchange import Exchange
from gateway.openai.request import Endpoint
from metering.charge import ChargeOutcome
from metering.prices import cost_nano_usd
from router.types import Termination

Value = str | int | bool

OPERATIONS = {
    Endpoint.CHAT: "chat",
    Endpoint.COMPLETIONS: "text_completion",
    Endpoint.EMBEDDINGS: "embeddings",
    Endpoint.RERANK: "rerank",
    Endpoint.SCORE: "score",
}
WELL = frozenset({ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY, ChargeOutcome.CLIENT_GONE})


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Times are wall clock."""

    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value] = {}
    calls: bool = False
    """It is a call of another server."""
    failed: str = ""
    """How, if it did."""
    first_token_ns: int | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange whose last byte was sent, at that time of the monotonic clock."""

    exchange: Exchange
    ended_ns: int
    spool_seq: int
    """All of its rows are in the spool up to there."""


def trace_of(ended: Ended, booked_ns: int | None) -> tuple[Span, ...]:
    """The whole request, then its parts. `booked_ns` is of the monotonic clock, None if the ledger
    did not take it in time.
    """
    exchange = ended.exchange
    charge, attempt, question = exchange.charge, exchange.attempt, exchange.question
    to_wall_ns = charge.created_ns - exchange.started_ns
    ended_ns = ended.ended_ns + to_wall_ns
    last_byte_ns = min((attempt.last_byte_ns or ended.ended_ns) + to_wall_ns, ended_ns)
    outcome = exchange.outcome
    failed = "" if outcome is None or outcome in WELL else outcome.value
    whole = Span(
        name=f"POST {question.endpoint.path}",
        start_ns=charge.created_ns,
        end_ns=ended_ns if booked_ns is None else max(ended_ns, booked_ns + to_wall_ns),
        attributes=_of_request(exchange, booked_ns is not None),
        failed=failed,
    )
    calls = [
        _call(exchange, lost.attempt, to_wall_ns, lost.ended_ns + to_wall_ns, _how(lost))
        for lost in exchange.lost
        if lost.attempt is not attempt
    ]
    calls.append(_call(exchange, attempt, to_wall_ns, last_byte_ns, failed))
    record = Span(name="record", start_ns=last_byte_ns, end_ns=ended_ns)
    if booked_ns is None:
        return whole, *calls, record
    book = Span(name="book", start_ns=ended_ns, end_ns=max(ended_ns, booked_ns + to_wall_ns))
    return whole, *calls, record, book


def _how(lost: Lost) -> str:
    """A node that was only slower than another did not fail."""
    return "" if lost.termination is Termination.CLIENT_GONE else lost.termination.value


def _call(exchange: Exchange, attempt: Attempt, to_wall_ns: int, end_ns: int, failed: str) -> Span:
    question, first_byte_ns = exchange.question, attempt.first_byte_ns
    return Span(
        name=f"{OPERATIONS[question.endpoint]} {question.model}",
        start_ns=attempt.dialled_ns + to_wall_ns,
        end_ns=end_ns,
        attributes=_of_call(exchange, attempt),
        calls=True,
        failed=failed,
        first_token_ns=first_byte_ns and first_byte_ns + to_wall_ns,
    )


def _of_request(exchange: Exchange, booked: bool) -> dict[str, Value]:
    charge, usage = exchange.charge, exchange.usage
    return {
        "http.request.method": "POST",
        "http.route": exchange.question.endpoint.path,
        "tollgate.request_id": charge.request_id,
        "tollgate.charge_id": charge.charge_id,
        "tollgate.account": charge.account,
        "tollgate.key_id": charge.key_id,
        "tollgate.outcome": exchange.outcome or "",
        "tollgate.attempts": exchange.attempts,
        "tollgate.cost_nano_usd": 0 if usage is None else cost_nano_usd(charge.price, usage),
        "tollgate.booked": booked,
    }


def _of_call(exchange: Exchange, attempt: Attempt) -> dict[str, Value]:
    """The whole request's tokens are those of the node that ended it."""
    question, node = exchange.question, attempt.node
    usage = exchange.usage if attempt is exchange.attempt else None
    parts = urlsplit(node.url)
    told: dict[str, Value] = {
        "gen_ai.operation.name": OPERATIONS[question.endpoint],
        "gen_ai.provider.name": node.engine,
        "gen_ai.request.model": question.model,
        "gen_ai.response.model": node.served_model or node.model,
        "server.address": parts.hostname or parts.path,
        "tollgate.node": node.node_id,
        "tollgate.supplier": node.supplier_id,
    }
    if parts.port is not None:
        told["server.port"] = parts.port
    if question.completion_tokens_max is not None:
        told["gen_ai.request.max_tokens"] = question.completion_tokens_max
    if usage is not None:
        told["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        told["gen_ai.usage.output_tokens"] = usage.completion_tokens
        told["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    return told
