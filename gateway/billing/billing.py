"""Money in and statements as an operator's gateway has them: the books with its configuration."""

from __future__ import annotations

from gateway.billing.config import BillingConfig
from gateway.home import Home
from gateway.settlement.params_file import params_of_file
from ide.settlement import SettlementError, open_supply
from metering.accounts import customer
from metering.database import Database
from metering.deposit import DepositError, DepositOrder, IoPrice
from metering.deposit_book import BookedDeposit, DepositBook
from metering.ledger import Ledger
from metering.refund import Refund, RefundOrder
from metering.statement_book import StatementBook

_NS = 1_000_000_000
CLOCKS_APART_MAX_S = 60
"""How far in the future a price may be: its source has a clock of its own."""


class Billing:
    """Thread-safe, and asks the database: not for the event loop. Raises LedgerError."""

    def __init__(
        self, home: Home, config: BillingConfig, ledger: Ledger, database: Database, writer: str
    ) -> None:
        self._home = home
        self.config = config
        self._ledger = ledger
        self.deposits = DepositBook(ledger, database, writer, self._open_supply)
        self.statements = StatementBook(database)

    def knows(self, account: str) -> bool:
        """Whether it was ever opened. Raises AccountError."""
        name = customer(account)
        return name in self._ledger.balances([name])

    def deposit(self, order: DepositOrder, now_ns: int) -> tuple[BookedDeposit, bool]:
        """As `DepositBook.deposit`; a new one needs a price of now."""
        if order.io_price is not None and self.deposits.find(order.deposit_id) is None:
            self._check_age(order.io_price, now_ns)
        return self.deposits.deposit(order, self.config.fee(order.method))

    def refund(self, deposit_id: str, order: RefundOrder) -> tuple[Refund, bool]:
        returns_fee = self.config.refunds_return_fee
        return self.deposits.refund(deposit_id, order, returns_fee=returns_fee)

    def _check_age(self, price: IoPrice, now_ns: int) -> None:
        age_s = (now_ns - price.at_ns) // _NS
        if age_s > self.config.io_price_age_max_s:
            raise DepositError(
                f"the price of IO is {age_s} s old, and {self.config.io_price_age_max_s} s are the "
                "most: ask for a new one"
            )
        if age_s < -CLOCKS_APART_MAX_S:
            raise DepositError(
                f"the price of IO is of {-age_s} s in the future: look at the clocks"
            )

    def _open_supply(self) -> None:
        """With the parameters that epochs are settled by: the IO is issued only once."""
        try:
            open_supply(self._ledger, params_of_file(self._home.ide_file))
        except SettlementError as error:
            raise DepositError(str(error)) from error
