"""The `[billing]` section: what deposits cost, how refunds are made, who issues the invoices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from gateway.config_error import ConfigError
from metering.deposit import DepositMethod, Fee
from metering.money import MoneyError, parse_percent, parse_usd


class BillingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    usdc_fee_percent: str = "2"
    """What io.net asks of payments in USDC."""
    card_fee_percent: str = "0"
    """Of payments by card."""
    card_fee_usd: str = "0"
    """For each payment, beside the percentage."""
    refunds_return_fee: bool = False
    """A refund gives back its part of the deposit's fee; else the fee stays the network's."""
    io_price_age_max_s: Annotated[int, msgspec.Meta(ge=1)] = 600
    """A deposit in IO at an older price is refused."""
    seller: str = ""
    """On statements: the operator's name and address, lines divided by a line break."""
    note: str = ""
    """Below a statement: payment terms, tax numbers."""

    def fee(self, method: DepositMethod) -> Fee:
        """Raises ConfigError. IO and what the operator books by hand have no fee."""
        if method is DepositMethod.USDC:
            return Fee(ppm=_read("usdc_fee_percent", self.usdc_fee_percent, parse_percent))
        if method is DepositMethod.CARD:
            return Fee(
                ppm=_read("card_fee_percent", self.card_fee_percent, parse_percent),
                fixed_nano_usd=_read("card_fee_usd", self.card_fee_usd, parse_usd),
            )
        return Fee()

    def check(self) -> None:
        """Raises ConfigError for a fee that cannot be read."""
        for method in DepositMethod:
            self.fee(method)


def _read(field: str, text: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(text)
    except MoneyError as error:
        raise ConfigError(f"[billing] {field}: {error}") from None
