"""Options that say what a key may do, the same for a new key and for one that is changed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from msgspec import UNSET

from gateway.cli.home import Usd
from metering.cycle import Cycle
from metering.key_patch import KeyPatch

F = TypeVar("F", bound=Callable[..., Any])

NONE = "none"
_DURATION = re.compile(r"(\d{1,5})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class OrNone(click.ParamType[Any]):
    """Another type, or `none`, which takes a limit away."""

    def __init__(self, inner: click.ParamType[Any]) -> None:
        self._inner = inner
        self.name = f"{inner.name}|{NONE}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return NONE if value == NONE else self._inner.convert(value, param, ctx)


class Duration(click.ParamType[int]):
    """`90d`, `12h`, `30m` or `45s`, passed on in seconds."""

    name = "duration"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = None if isinstance(value, int) else _DURATION.fullmatch(value)
        if match is None:
            return value if isinstance(value, int) else self.fail(f"'{value}': write it like 24h")
        return int(match[1]) * _UNIT_S[match[2]]


class Moment(click.ParamType[int]):
    """`2027-01-31`, `2027-01-31T12:00:00Z` or a duration from now; passed on as Unix seconds."""

    name = "time"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        if _DURATION.fullmatch(value):
            return int(time.time()) + Duration().convert(value, param, ctx)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"'{value}': write it like 2027-01-31, 2027-01-31T12:00:00Z or 90d", param)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp())


_LIMIT = OrNone(click.IntRange(min=1))
_OPTIONS = [
    click.option("--name", help="What it is for."),
    click.option("--rpm", type=_LIMIT, help="Requests a minute."),
    click.option("--tpm", type=_LIMIT, help="Tokens a minute, of prompts and completions."),
    click.option("--concurrency", type=_LIMIT, help="Requests at once."),
    click.option("--model", "models", multiple=True, help="A model it may use; may be repeated."),
    click.option("--cap", type=OrNone(Usd()), metavar="USD", help="The most that it may spend."),
    click.option(
        "--cycle",
        type=OrNone(click.Choice([cycle.value for cycle in Cycle])),
        metavar="|".join(Cycle),
        help="When the cap begins anew (UTC).  [default: never]",
    ),
    click.option("--expires", type=OrNone(Moment()), metavar="TIME", help="2027-01-31, or 90d."),
    click.option("--manages-keys/--no-manages-keys", default=None, help="It may make sub-keys."),
    click.option(
        "--usage-always/--no-usage-always",
        default=None,
        help="For aggregators: every answer tells usage, errors are free.",
    ),
    click.option(
        "--unknown-parameters/--no-unknown-parameters",
        default=None,
        help="Parameters that nobody knows are left out, not refused.",
    ),
    click.option(
        "--waking/--no-waking",
        default=None,
        help="Requests wait for a model that is being started, or get 429.  [default: wait]",
    ),
]


def term_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def patch_of(
    *,
    name: str | None,
    rpm: Any,
    tpm: Any,
    concurrency: Any,
    models: tuple[str, ...],
    cap: Any,
    cycle: Any,
    expires: Any,
    manages_keys: bool | None,
    usage_always: bool | None,
    unknown_parameters: bool | None,
    waking: bool | None,
) -> KeyPatch:
    """What was given of the options; the rest stays as it is."""
    return KeyPatch(
        name=UNSET if name is None else name,
        requests_per_minute=_given(rpm),
        tokens_per_minute=_given(tpm),
        concurrent_requests=_given(concurrency),
        models=(None if models == (NONE,) else models) if models else UNSET,
        spend_cap_nano_usd=_given(cap),
        spend_cycle=Cycle(cycle) if cycle not in (None, NONE) else _given(cycle),
        expires_at=_given(expires),
        manages_keys=UNSET if manages_keys is None else manages_keys,
        usage_always=UNSET if usage_always is None else usage_always,
        allows_unknown_parameters=UNSET if unknown_parameters is None else unknown_parameters,
        refuses_waking=UNSET if waking is None else not waking,
    )


def _given(value: Any) -> Any:
    if value is None:
        return UNSET
    return None if value == NONE else value
