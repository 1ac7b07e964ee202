"""The `[[sla]]` sections: what is promised, and given back where it was not kept."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from gateway.config_error import ConfigError
from metering.accounts import AccountError, check_name
from metering.money import PPM, MoneyError, parse_percent
from metering.month import DAY_NS, MonthError, parse_day
from metering.sla import Objective, SlaPeriod

_NAME = re.compile(r"[a-z0-9._-]{1,32}", re.ASCII)


class SlaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    """On credits and statements."""
    since: str
    """The first day (UTC) that it holds, such as 2026-11-01: no earlier period is judged."""
    credit_percent: str
    """Of what the account spent in the period, or in the hours that were too slow."""
    account: str | None = None
    """Each account, if not given."""
    model: str | None = None
    """All models together, if not given."""
    period: SlaPeriod = SlaPeriod.MONTH
    """What it is judged over."""
    availability_percent: str | None = None
    """Of the requests, answered; at least."""
    ttft_p95_ms: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Over each hour."""
    requests_min: Annotated[int, msgspec.Meta(ge=1)] = 20
    """A period or hour with fewer is not judged."""

    def objective(self) -> Objective:
        """Raises ConfigError."""
        try:
            return self._objective()
        except (AccountError, MoneyError, MonthError) as error:
            raise ConfigError(f"[[sla]] '{self.name}': {error}") from None

    def _objective(self) -> Objective:
        if _NAME.fullmatch(self.name) is None:
            raise ConfigError(
                f"[[sla]] '{self.name}' is no name: use 1 to 32 of a-z, 0-9, dot, dash, underscore"
            )
        availability = self.availability_percent
        if availability is None and self.ttft_p95_ms is None:
            raise ConfigError(
                f"[[sla]] '{self.name}' promises nothing: give availability_percent or ttft_p95_ms"
            )
        credit_ppm = parse_percent(self.credit_percent)
        if not 0 < credit_ppm <= PPM:
            raise ConfigError(f"[[sla]] '{self.name}': credit_percent must be above 0")
        return Objective(
            name=self.name,
            account=None if self.account is None else check_name(self.account),
            model=self.model,
            period=self.period,
            since_ns=parse_day(self.since) * DAY_NS,
            availability_ppm=None if availability is None else parse_percent(availability),
            ttft_p95_ms=self.ttft_p95_ms,
            credit_ppm=credit_ppm,
            requests_min=self.requests_min,
        )
