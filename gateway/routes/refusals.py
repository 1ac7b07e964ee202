"""What the rooms below refuse, told over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from gateway import errors
from gateway.enrolment.node_store import UnknownNodeError
from gateway.errors import ApiError
from ide.settlement import SettlementError
from metering.accounts import AccountError
from metering.credit_line import CreditLineError
from metering.customer_store import CustomerError
from metering.deposit import ConflictError, DepositError, UnknownDepositError
from metering.key_store import KeyRefusedError
from metering.keys import KeyTermsError
from metering.ledger import LedgerError, TextError
from metering.money import MoneyError
from metering.month import MonthError
from metering.prices import PriceError, PriceTakenError
from metering.statement import StatementError


def _invalid(error: Exception) -> ApiError:
    return errors.bad_request(f"{error}.", code="invalid_value")


def _conflict(error: Exception) -> ApiError:
    return errors.conflict(f"{error}.")


def _unknown(error: Exception) -> ApiError:
    return errors.not_found(f"{error}.")


def _own_fault(error: Exception) -> ApiError:
    return ApiError(500, f"{error}.", type="server_error")


def _no_text(_: Exception) -> ApiError:
    return errors.bad_request("No id and no name has a NUL character.", code="invalid_value")


def _away(_: Exception) -> ApiError:
    return errors.limits_unknown()


REFUSALS: dict[type[Exception], Callable[[Exception], ApiError]] = {  # the first that fits
    AccountError: _invalid,
    ConflictError: _conflict,
    UnknownDepositError: _unknown,
    DepositError: _invalid,
    MonthError: _invalid,
    SettlementError: _unknown,
    StatementError: _own_fault,
    KeyTermsError: _invalid,
    CreditLineError: _conflict,
    CustomerError: _conflict,
    KeyRefusedError: _conflict,
    PriceTakenError: _conflict,
    PriceError: _invalid,
    MoneyError: _invalid,
    UnknownNodeError: _unknown,
    TextError: _no_text,
    LedgerError: _away,
}


def refusal_of(error: Exception) -> ApiError:
    """What is said of an error that is among them."""
    return next(say(error) for kind, say in REFUSALS.items() if isinstance(error, kind))
