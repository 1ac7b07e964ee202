"""Prices as people write them, in the TOML, to the admin API and on the command line. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from metering.money import PPM, MoneyError, parse_price_per_million, parse_usd
from metering.off_peak import OffPeakWindow
from metering.price_book import ALWAYS_NS, Tariff
from metering.prices import PriceError


class PriceTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt_usd_per_million: str
    """USD for a million tokens of the prompt."""
    completion_usd_per_million: str
    """Reasoning tokens are completion tokens."""
    cached_prompt_usd_per_million: str | None = None
    """The prompt price if not given."""
    request_usd: str = "0"
    """For each request that is charged, besides its tokens."""
    batch_discount_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 0
    """What a batch costs less, in millionths of the price."""
    off_peak: tuple[OffPeakWindow, ...] = ()

    def tariff_of(self, model: str, effective_ns: int) -> Tariff:
        """Raises PriceError, also for what is no whole number of nano-USD per token."""
        prompt = self._amount(model, "prompt_usd_per_million")
        cached = prompt
        if self.cached_prompt_usd_per_million is not None:
            cached = self._amount(model, "cached_prompt_usd_per_million")
        return Tariff(
            model=model,
            effective_ns=effective_ns,
            prompt_nano_usd=prompt,
            cached_prompt_nano_usd=cached,
            completion_nano_usd=self._amount(model, "completion_usd_per_million"),
            request_nano_usd=self._amount(model, "request_usd", parse_usd),
            batch_discount_ppm=self.batch_discount_ppm,
            off_peak=self.off_peak,
        )

    def _amount(
        self, model: str, field: str, parse: Callable[[str], int] = parse_price_per_million
    ) -> int:
        try:
            return parse(getattr(self, field))
        except MoneyError as error:
            raise PriceError(f"model '{model}': {field}: {error}") from None


class NewPrice(PriceTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price to be set."""

    model: str
    effective_from: str | None = None
    """A moment with its zone, as 2027-01-01T00:00:00Z; None is as early as can be."""
    id: str | None = None
    """Makes setting it repeatable: an id is set once."""

    def tariff(self) -> Tariff:
        """Raises PriceError."""
        at = self.effective_from
        return self.tariff_of(self.model, ALWAYS_NS if at is None else _moment_ns(at))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PriceError(
            f"'{text}' is no moment: write date, time and zone, such as 2027-01-01T00:00:00Z"
        )
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
