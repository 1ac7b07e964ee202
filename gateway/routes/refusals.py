"""What the rooms below refuse, told over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from gateway import errors
from gateway.errors import ApiError
from metering.accounts import AccountError
from metering.credit_line import CreditLineError
from metering.customer_store import CustomerError
from metering.key_store import KeyRefusedError
from metering.keys import KeyTermsError
from metering.ledger import LedgerError


def _invalid(error: Exception) -> ApiError:
    return errors.bad_request(f"{error}.", code="invalid_value")


def _conflict(error: Exception) -> ApiError:
    return errors.conflict(f"{error}.")


def _away(_: Exception) -> ApiError:
    return errors.limits_unknown()


REFUSALS: dict[type[Exception], Callable[[Exception], ApiError]] = {
    AccountError: _invalid,
    KeyTermsError: _invalid,
    CreditLineError: _conflict,
    CustomerError: _conflict,
    KeyRefusedError: _conflict,
    LedgerError: _away,
}
