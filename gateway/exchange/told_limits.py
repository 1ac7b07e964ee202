"""Where a key stands with its limits, in OpenAI's headers: `x-ratelimit-remaining-tokens`. Pure."""

from __future__ import annotations

from functools import lru_cache

from gateway.errors import duration
from metering.limits import KeyPools, LimitKind

Headers = tuple[tuple[bytes, bytes], ...]

_NAMES = {
    kind: (
        b"x-ratelimit-limit-%b" % kind.encode(),
        b"x-ratelimit-remaining-%b" % kind.encode(),
        b"x-ratelimit-reset-%b" % kind.encode(),
    )
    for kind in (LimitKind.REQUESTS, LimitKind.TOKENS)
}


def limit_headers(limits: KeyPools, now_ns: int) -> Headers:
    """`now_ns` is monotonic. Resets are rounded up to seconds."""
    told = []
    for standing in limits.standings(now_ns):
        limit, remaining, reset = _NAMES[standing.kind]
        told += [
            (limit, b"%d" % standing.limit),
            (remaining, b"%d" % standing.remaining),
            (reset, _seconds(-(-standing.reset_ns // 1_000_000_000))),
        ]
    return tuple(told)


def limit_lines(limits: KeyPools, now_ns: int) -> bytes:
    """The same as lines of a head: of all that they say only what remains is always another."""
    told: tuple[tuple[LimitKind, int, int], ...] = ()
    remaining: tuple[int, ...] = ()
    for each in limits.standings(now_ns):
        told += ((each.kind, each.limit, -(-each.reset_ns // 1_000_000_000)),)
        remaining += (each.remaining,)
    return _lines(told) % remaining


def unlike(told: Headers, headers: Headers) -> Headers:
    """Those of the second whose names are not among the first."""
    names = {name for name, _ in told}
    return tuple(header for header in headers if header[0] not in names)


@lru_cache(1024)
def _lines(told: tuple[tuple[LimitKind, int, int], ...]) -> bytes:
    """With a `%d` for what remains. `told`: kind, limit and the seconds until it is reset."""
    lines = b""
    for kind, limit, reset_s in told:
        lines += b"%b: %d\r\n%b: %%d\r\n%b: %b\r\n" % (
            _NAMES[kind][0], limit, _NAMES[kind][1], _NAMES[kind][2], _seconds(reset_s),
        )  # fmt: skip
    return lines


@lru_cache(64)
def _seconds(seconds: int) -> bytes:
    return duration(seconds * 1000).encode()
