"""The prepaid limit of one gateway, hard: what runs at once never costs more than there is.

    available = what the ledger says + what this gateway's rows will change and have not yet

A hold leaves `available` when it is reserved. Once its row is in the ledger the ledger's balance
shows it, and the poster's update takes it out of the sum of unposted changes in the same step. An
account that the ledger was not asked about yet has nothing available.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class BalanceUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of an account, and the changes it now includes. In nano-USD."""

    account: str
    available_nano_usd: int
    booked_nano_usd: int
    """The sum of changes by this gateway's rows that this balance is the first to include."""
    posted_nano_usd: int = 0
    """The balance with nothing on hold."""
    paid_nano_usd: int = 0
    """What this gateway's charges took off the posted balance; the first balance to include it."""
    released_nano_usd: int = 0
    """What they left of their holds, likewise."""
    seq: int = 0
    """The ledger's last row before the balance was read: it includes at least all up to there."""


class _Account:
    __slots__ = ("known", "ledger", "unposted")

    def __init__(self) -> None:
        self.known = False
        self.ledger = 0
        self.unposted = 0


class Budget:
    """Used by one thread. Amounts in nano-USD."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def known(self, account: str) -> bool:
        """Did the ledger ever tell this account's balance? Ask `Poster.refresh` to have it told."""
        found = self._accounts.get(account)
        return found is not None and found.known

    def available(self, account: str) -> int:
        """May be negative: an operator can take money away below what is on hold."""
        found = self._accounts.get(account)
        return 0 if found is None else found.ledger + found.unposted

    def reserve(self, account: str, amount: int) -> bool:
        """Set an amount aside. False, and nothing is, if the account has less."""
        assert amount >= 0, f"a hold of {amount}"
        found = self._accounts.get(account)
        if found is None or not found.known or found.ledger + found.unposted < amount:
            return False
        found.unposted -= amount
        return True

    def settle(self, account: str, hold: int, cost: int) -> None:
        """Give back what a reserved hold leaves of itself; all of it, if it came to nothing."""
        assert hold >= 0, f"a hold of {hold}"
        assert cost >= 0, f"a cost of {cost}"
        self._accounts[account].unposted += hold - cost if cost < hold else 0

    def withdraw(self, account: str, hold: int) -> None:
        """Give back all of a hold whose charge never was."""
        self._accounts[account].unposted += hold

    def forget(self, account: str) -> bool:
        """Let go of what will not be asked for again. False while something of it is under way."""
        found = self._accounts.get(account)
        if found is not None and found.unposted:
            return False
        self._accounts.pop(account, None)
        return True

    def update(self, updates: Iterable[BalanceUpdate]) -> None:
        """What the poster reports, in its order: the ledger's balance replaces ours."""
        for update in updates:
            found = self._accounts.setdefault(update.account, _Account())
            found.known = True
            found.ledger = update.available_nano_usd
            found.unposted -= update.booked_nano_usd
