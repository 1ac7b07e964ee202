"""Which web pages may call the API: the headers that a browser asks for. Pure.

Keys are bearer tokens that a page must hold itself, never cookies, so credentials are not allowed
and any origin may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]

ANY = b"*"
_METHODS = b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
_USUAL_HEADERS = b"authorization, content-type"
_RATES = b", ".join(
    b"x-ratelimit-%b-%b" % (part, kind)
    for part in (b"limit", b"remaining", b"reset")
    for kind in (b"requests", b"tokens")
)
_EXPOSED = (
    b"access-control-expose-headers",
    b"x-request-id, openai-processing-ms, retry-after, retry-after-ms, x-should-retry, "
    b"idempotent-replayed, " + _RATES,
)
_VARY = (b"vary", b"origin")


class Cors:
    """`origins` are allowed, all if `*` is one of them; none switches it off."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, origin: bytes) -> Sequence[Header]:
        """For an answer to a request that came with this Origin."""
        if ANY in self._origins:
            return ((b"access-control-allow-origin", ANY), _EXPOSED)
        if origin in self._origins:
            return ((b"access-control-allow-origin", origin), _EXPOSED, _VARY)
        return (_VARY,) if self._origins else ()

    def preflight(self, headers_asked: bytes) -> Sequence[Header]:
        """Beside those, for a browser that asks if it may send a request with such headers."""
        return (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", headers_asked or _USUAL_HEADERS),
            (b"access-control-max-age", b"7200"),
        )
