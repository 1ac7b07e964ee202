"""The prepaid limit of several gateways: each spends what it leased of an account's balance. Pure.

    lease of a writer  =  free here + on hold here + charged but not booked
    pool               =  posted balance of the ledger - the leases of all writers

A gateway may run up what it leased and no more, so what all of them may still charge never exceeds
the balance that the ledger has posted. Holds count inside the lease; the ledger's own holds are not
subtracted a second time. Why no view of the balance that is late does harm:

- The posted balance falls only when a gateway books charges, and then by what its lease shrinks by
  afterwards, never before: book first, then tell. In between both count: too little is granted.
- With the smaller lease goes the balance read after the booking and the ledger's sequence number
  read before the balance. The pool keeps the view with the highest number, so the view that it
  grants from includes every booking by which a lease has shrunk. Deposits only make it larger.
- What an ended charge leaves of its hold may be held again here at once, but is let go of only when
  that end is booked. Until then the ledger still has the hold: another gateway that held the same
  money might find none there, if its rows come to the books first.
- A lease of money never expires. What a dead gateway may have charged is in its spool, and only
  its spool knows: the lease stands until that is recovered and booked, and then is dropped as a
  whole, together with the ledger's sequence number by then; older views grant nothing any more.
- If the pool forgets (Redis flushed, restarted, failed over) it grants nothing until every gateway
  that the ledger's database has on its register has told its lease and its last booking again: the
  living do at once, a dead one when its spool is recovered. So nothing is granted twice.

Amounts in nano-USD. Redis counts in doubles: of a balance above 2^53 nano-USD (9 million USD) the
gateways together lease at most that much at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from metering.budget import BalanceUpdate
from metering.limits_window import NO_LIMIT
from metering.purse import is_purse
from metering.shares import Demand, Grant, Share

POSTED_MAX = 2**53 - 1
UNSEEN = -1
"""No sequence number: the ledger was not asked yet."""


class CreditStatement(msgspec.Struct, frozen=True, array_like=True):
    """The whole lease, what is kept of it unspent, and the ledger's balance as of `seq`."""

    account: str
    leased: int
    keep: int
    posted: int
    seq: int
    demand: Demand
    until_s: int
    """Unix time at which it is over, as a cap's cycle is; 0: never."""


class CreditShare(Share):
    def __init__(self, account: str, until_s: int) -> None:
        super().__init__()
        self.account = account
        self._until_s = until_s
        self.limit = NO_LIMIT
        self.free = 0
        self._leased = 0
        self._posted = 0
        self._seq = UNSEEN
        self._changed = False
        self._has_holds = not is_purse(account)
        self.stale = True
        """The ledger was not asked, or not since a booking that the pools count on."""

    @property
    def unused(self) -> bool:
        """Nothing of it is leased, nor to be told or asked for."""
        return self.idle and not self._leased

    @property
    def idle(self) -> bool:
        return not (self.free > self._bound or self.needs or self._changed)

    def release(self, amount: int) -> None:
        """A charge ended and left so much of its hold; the ledger does not know yet."""
        self.free += amount
        if self._has_holds:
            self._bound += amount

    def told(self, update: BalanceUpdate) -> None:
        """The ledger booked charges of ours, or somebody's deposit."""
        self._leased -= update.paid_nano_usd
        self._bound -= update.released_nano_usd
        if update.posted_nano_usd > self._posted:
            self.not_hopeless()
        self._posted = min(update.posted_nano_usd, POSTED_MAX)
        self._seq = update.seq
        self._changed = True
        self.stale = False
        excess = min(self.free, self._leased - self._posted)
        if excess > 0:  # a credit line or a cap was lowered
            self.free -= excess
            self._leased -= excess

    def state(self) -> CreditStatement:
        free = self.free
        keep, demand = self.ask()
        self._leased -= free - keep
        self._changed = False
        return CreditStatement(
            self.account, self._leased, keep, self._posted, self._seq, demand, self._until_s
        )

    def apply(self, said: CreditStatement, grant: Grant, now_ns: int) -> None:
        self._leased += grant.given
        self.stale = grant.stale
        self.granted(said.demand, grant, now_ns)


class SharedBudget:
    """Used by one thread; offers what `Budget` does. `until_s` tells when what goes by a name is
    over, in Unix seconds; 0: never.
    """

    def __init__(self, until_s: Callable[[str], int] = lambda _: 0) -> None:
        self._until_s = until_s
        self.accounts: dict[str, CreditShare] = {}
        self.booked_seq = 0
        """The ledger's sequence number at our last booking, or a later one."""
        self.awake: set[CreditShare] = set()
        """Those with something to tell the pools."""

    def share(self, account: str) -> CreditShare:
        found = self.accounts.get(account)
        if found is None:
            found = self.accounts[account] = CreditShare(account, self._until_s(account))
        return found

    def forget(self, account: str) -> bool:
        found = self.accounts.get(account)
        if found is not None and not found.unused:
            return False
        self.accounts.pop(account, None)
        return True

    def need(self, share: CreditShare, amount: int) -> None:
        """A request that may cost this much waits."""
        share.needs.append(amount)
        self.awake.add(share)

    def available(self, account: str) -> int:
        found = self.accounts.get(account)
        return 0 if found is None else found.free + found.pool_free

    def reserve(self, account: str, amount: int) -> bool:
        assert amount >= 0, f"a hold of {amount}"
        found = self.accounts.get(account)
        if found is None or found.free < amount:
            return False
        found.free -= amount
        return True

    def settle(self, account: str, hold: int, cost: int) -> None:
        assert hold >= 0, f"a hold of {hold}"
        assert cost >= 0, f"a cost of {cost}"
        share = self.accounts[account]
        if cost < hold:
            share.release(hold - cost)
        self.awake.add(share)

    def withdraw(self, account: str, hold: int) -> None:
        share = self.accounts[account]
        share.free += hold
        self.awake.add(share)

    def update(self, updates: Iterable[BalanceUpdate]) -> None:
        for update in updates:
            share = self.share(update.account)
            share.told(update)
            self.awake.add(share)
            if update.paid_nano_usd:
                self.booked_seq = max(self.booked_seq, update.seq)
