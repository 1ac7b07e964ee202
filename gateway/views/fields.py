"""Fields of JSON, the same over HTTP and on the command line.

`*_at` is Unix time in seconds; `*_nano_usd` counts 1e-9 USD and `*_usd` is the same as exact text.
"""

from __future__ import annotations

from metering.money import format_usd

_SECOND_NS = 1_000_000_000


def usd(name: str, nano_usd: int | None) -> dict[str, int | str | None]:
    text = None if nano_usd is None else format_usd(nano_usd)
    return {f"{name}_nano_usd": nano_usd, f"{name}_usd": text}


def seconds(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // _SECOND_NS
