"""The prices of models over time: at every moment each model has exactly one.

A tariff is what is set: list price, discounts, and the moment it takes effect. It is in force until
the next one of its model does; of two that take effect at the same moment the one set last counts,
which is how a price that is not yet in force is taken back. What is or was in force cannot be
changed: a new tariff takes effect no earlier than `earliest_ns`, by when every gateway has read it.

Discounts make a price of its own, with a name of its own: that of batches, at any hour, and that of
off-peak hours. Where both apply the larger one counts; they do not add up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import msgspec

from metering.off_peak import OffPeakWindow, discount_ppm, span_ns
from metering.prices import ModelPrice, PriceError, Reduction, named_price, reduced

LEAD_NS = 5 * 10**9
"""A price set for "now" takes effect so much later: gateways look for new prices every second."""

ALWAYS_NS = 0
"""Takes effect before anything was asked: the prices of the configuration."""

NEVER_NS = 2**63 - 1

TOKEN_NANO_USD_MAX = 10**9
REQUEST_NANO_USD_MAX = 10**12
"""One USD a token, a thousand a request: beyond that it is a mistake, and costs could overflow."""


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD a token of each kind and a request, from `effective_ns` on. Raises PriceError."""

    model: str
    effective_ns: int
    prompt_nano_usd: int
    cached_prompt_nano_usd: int
    completion_nano_usd: int
    request_nano_usd: int = 0
    batch_discount_ppm: int = 0
    off_peak: tuple[OffPeakWindow, ...] = ()

    def __post_init__(self) -> None:
        tokens = (self.prompt_nano_usd, self.cached_prompt_nano_usd, self.completion_nano_usd)
        for amount in tokens:
            if not 0 <= amount <= TOKEN_NANO_USD_MAX:
                raise PriceError(
                    f"model '{self.model}': {amount} nano-USD a token is not within 0 and "
                    f"{TOKEN_NANO_USD_MAX}"
                )
        if not 0 <= self.request_nano_usd <= REQUEST_NANO_USD_MAX:
            raise PriceError(
                f"model '{self.model}': {self.request_nano_usd} nano-USD a request is not within "
                f"0 and {REQUEST_NANO_USD_MAX}"
            )
        if not 0 <= self.effective_ns < NEVER_NS:
            raise PriceError(f"model '{self.model}': {self.effective_ns} is no time in ns")
        if self.batch_discount_ppm:
            reduced(self.list_price, Reduction.BATCH, self.batch_discount_ppm)
        for window in self.off_peak:
            reduced(self.list_price, Reduction.OFF_PEAK, window.discount_ppm)

    @property
    def list_price(self) -> ModelPrice:
        return named_price(
            self.prompt_nano_usd,
            self.cached_prompt_nano_usd,
            self.completion_nano_usd,
            self.request_nano_usd,
        )

    def price(self, now_ns: int, *, batch: bool = False) -> ModelPrice:
        """What is asked at this moment, which must be one of its own."""
        off_peak_ppm = discount_ppm(self.off_peak, now_ns)
        batch_ppm = self.batch_discount_ppm if batch else 0
        if batch_ppm and batch_ppm >= off_peak_ppm:
            return reduced(self.list_price, Reduction.BATCH, batch_ppm)
        if off_peak_ppm:
            return reduced(self.list_price, Reduction.OFF_PEAK, off_peak_ppm)
        return self.list_price

    def all_prices(self) -> list[ModelPrice]:
        """Every price that it can come to: the list price first, then the discounted ones."""
        prices = [self.list_price]
        if self.batch_discount_ppm:
            prices.append(reduced(self.list_price, Reduction.BATCH, self.batch_discount_ppm))
        for ppm in sorted({window.discount_ppm for window in self.off_peak}):
            prices.append(reduced(self.list_price, Reduction.OFF_PEAK, ppm))
        return prices


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """A price and the moments between which it is asked: [from_ns, until_ns)."""

    tariff: Tariff
    price: ModelPrice
    batch_price: ModelPrice
    from_ns: int
    until_ns: int
    """NEVER_NS if nothing is to change it."""


class PriceList:
    """The tariffs of one model, in the order in which they were set. Raises PriceError if there is
    none, or if the first was not always in effect.
    """

    def __init__(self, tariffs: Iterable[Tariff]) -> None:
        by_time = {tariff.effective_ns: tariff for tariff in tariffs}
        self._tariffs = sorted(by_time.values(), key=lambda tariff: tariff.effective_ns)
        if not self._tariffs or self._tariffs[0].effective_ns != ALWAYS_NS:
            raise PriceError("the first price of a model must always have been in effect")
        self._starts_ns = [tariff.effective_ns for tariff in self._tariffs]

    def at(self, now_ns: int) -> InForce:
        """The price at this moment. A time before all times has the first price."""
        index = max(bisect_right(self._starts_ns, now_ns) - 1, 0)
        tariff = self._tariffs[index]
        from_ns, last = tariff.effective_ns, index + 1 == len(self._tariffs)
        until_ns = NEVER_NS if last else self._starts_ns[index + 1]
        span = span_ns(tariff.off_peak, now_ns)
        if span is not None:
            from_ns, until_ns = max(from_ns, span[0]), min(until_ns, span[1])
        return InForce(
            tariff=tariff,
            price=tariff.price(now_ns),
            batch_price=tariff.price(now_ns, batch=True),
            from_ns=from_ns,
            until_ns=until_ns,
        )

    def __iter__(self) -> Iterator[Tariff]:
        """By the time they take effect, without those that were taken back."""
        return iter(self._tariffs)


def earliest_ns(now_ns: int) -> int:
    """From when a price that is set now can be in effect."""
    return now_ns + LEAD_NS
