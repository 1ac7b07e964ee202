"""How OpenRouter counts requests against a provider, and what it makes of the count. Pure.

Uptime is what went well of all that is not the user's fault. 401, 402, 404 (of a model), every 5xx,
an error in the middle of a stream and an answer that finishes with an error count against; 400 and
413 do not count at all, 429 and 403 are shown apart. (openrouter.ai/docs, "For Providers")
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from metering.charge import ChargeOutcome


class End(IntEnum):
    """How a request ended, as an aggregator sees it: an index into the counts of a `Card`."""

    OK = 0
    UNAUTHORIZED = 1
    PAYMENT_REQUIRED = 2
    NOT_FOUND = 3
    SERVER_ERROR = 4
    MID_STREAM_ERROR = 5
    ERROR_FINISH = 6
    RATE_LIMITED = 7
    FORBIDDEN = 8
    USER_ERROR = 9
    CLIENT_GONE = 10

    @property
    def label(self) -> str:
        return self.name.lower()


class ToolEnd(IntEnum):
    """What came of the calls of an answer that finished with `tool_calls`; goes on where `End`
    stops, so that one list of counts holds both.
    """

    VALID = 11
    INVALID_JSON = 12
    UNKNOWN_NAME = 13
    SCHEMA_MISMATCH = 14
    UNCHECKED = 15
    """It had tools, but was too large, came when too many were waiting, or with a schema that
    cannot be used."""

    @property
    def label(self) -> str:
        return self.name.lower()


COUNTS = len(End) + len(ToolEnd)

AGAINST = (
    End.UNAUTHORIZED,
    End.PAYMENT_REQUIRED,
    End.NOT_FOUND,
    End.SERVER_ERROR,
    End.MID_STREAM_ERROR,
    End.ERROR_FINISH,
)
TOOL_ERRORS = (ToolEnd.INVALID_JSON, ToolEnd.UNKNOWN_NAME, ToolEnd.SCHEMA_MISMATCH)

_OF_STATUS = {
    401: End.UNAUTHORIZED,
    402: End.PAYMENT_REQUIRED,
    403: End.FORBIDDEN,
    404: End.NOT_FOUND,
    429: End.RATE_LIMITED,
}


def end_of_status(status: int) -> End:
    """Of a request that was answered with an HTTP error."""
    if status >= 500:
        return End.SERVER_ERROR
    return _OF_STATUS.get(status, End.USER_ERROR)


_OF_OUTCOME = {
    ChargeOutcome.COMPLETED: End.OK,
    ChargeOutcome.EMPTY: End.OK,
    ChargeOutcome.CLIENT_GONE: End.CLIENT_GONE,
    ChargeOutcome.NODE_BROKEN: End.MID_STREAM_ERROR,
    ChargeOutcome.NODE_ERROR: End.SERVER_ERROR,
    ChargeOutcome.REFUSED_BY_NODE: End.USER_ERROR,
    ChargeOutcome.NO_CAPACITY: End.RATE_LIMITED,
    ChargeOutcome.TIMED_OUT: End.RATE_LIMITED,
    ChargeOutcome.UNRECORDED: End.RATE_LIMITED,
}
_SEEN_WHOLE = frozenset({ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY, ChargeOutcome.CLIENT_GONE})


def end_of_outcome(outcome: ChargeOutcome, *, streaming: bool) -> End:
    """Of a request that was sent to a node. `streaming`: its answer had begun as a stream, were it
    by a keep-alive, so that no status could tell a failure any more: not even the client's own.
    """
    if streaming and outcome not in _SEEN_WHOLE:
        return End.MID_STREAM_ERROR
    return _OF_OUTCOME[outcome]


class Band(StrEnum):
    NORMAL = "normal"
    DEGRADED = "degraded"
    """Lower priority in routing."""
    DOWN = "down"
    """A fallback only."""
    UNRATED = "unrated"
    """Too few requests for a judgement."""


RATED_REQUESTS_MIN = 100
NORMAL_PERCENT = 95
DEGRADED_PERCENT = 80

_NEXT = {
    Band.NORMAL: (Band.DEGRADED, NORMAL_PERCENT),
    Band.UNRATED: (Band.DEGRADED, NORMAL_PERCENT),
    Band.DEGRADED: (Band.DOWN, DEGRADED_PERCENT),
}


def band_of(ok: int, against: int) -> Band:
    """What so many requests of each kind make of a provider."""
    requests = ok + against
    if requests < RATED_REQUESTS_MIN:
        return Band.UNRATED
    if 100 * ok >= NORMAL_PERCENT * requests:
        return Band.NORMAL
    return Band.DEGRADED if 100 * ok >= DEGRADED_PERCENT * requests else Band.DOWN


def failures_to_demotion(ok: int, against: int) -> tuple[Band, int] | None:
    """The band that threatens, and how many failures in a row lead to one at least as bad; None
    where it cannot get worse.
    """
    following = _NEXT.get(band_of(ok, against))
    if following is None:
        return None
    band, percent = following
    requests = ok + against
    below = (100 * ok - percent * requests) // percent + 1
    return band, max(below, RATED_REQUESTS_MIN - requests)
