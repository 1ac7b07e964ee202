"""One gateway from a seed: its files, its lives, and what was asked of it in each.

A life is the real ledger, spool, poster, till, budget and limits on a simulated disk, without their
threads: what a thread would do next is done here, in an order that the seed draws. It ends when the
fuse burns, when the process is killed between two steps, or in order.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from books import PRICE, closed, progressed, single, used

from gateway.admission.till import LedgerSource, Till
from metering.accounts import USD_EXTERNAL, customer
from metering.budget import BalanceUpdate, Budget
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge, Row
from metering.ledger import LedgerError
from metering.limits import LimitKind, Limits, local_limiter
from metering.poster import Poster
from metering.posting import deposit_group
from metering.purses import Purses
from metering.spool import Spool
from metering.spool_file import SpoolError
from metering.sqlite_ledger import SqliteLedger
from metering.transfer import Group, PostResult
from metering.usage import Usage

from .admission_model import SECOND_NS, WINDOW_SLOTS, CreditModel, KeyModel
from .auditor import CLI, Auditor
from .disks import Disks
from .model import Truth

DEPOSIT = 60_000
POOR = "poor"
ACCOUNTS = ("rich", "other", POOR)
KEYS = {
    "key_1": ("rich", Limits()),
    "key_2": ("rich", Limits(concurrent_requests=2)),
    "key_3": ("other", Limits(requests_per_minute=6, tokens_per_minute=120)),
    "key_4": (POOR, Limits(tokens_per_minute=400, concurrent_requests=4)),
    "key_5": (POOR, Limits()),
}
FREE = (ChargeOutcome.NO_CAPACITY, ChargeOutcome.CLIENT_GONE, ChargeOutcome.EMPTY)
BILLED = (ChargeOutcome.COMPLETED, ChargeOutcome.CLIENT_GONE, ChargeOutcome.NODE_BROKEN)


class Order:
    """A deposit ("in") or a withdrawal ("out"): with its id it is one, however often asked for."""

    def __init__(self, name: str, kind: str, account: str, amount: int) -> None:
        self.name, self.kind, self.account, self.amount = name, kind, account, amount
        self.asked = False

    def group(self) -> Group:
        if self.kind == "in":
            return deposit_group(self.name, self.account, self.amount)
        return single(self.name, customer(self.account), USD_EXTERNAL, self.amount)


class World:
    """What survives a life: the disks, and what the auditor knows."""

    def __init__(self, seed: int, folder: Path, disks: Disks) -> None:
        self.rng = random.Random(seed)
        self.disks = disks
        self.folder = folder
        self.truth = Truth()
        self.names = (f"c{i}" for i in itertools.count())
        self.orders: deque[Order] = deque()
        """What an operator wants done and has no answer to."""
        self.now_ns = 10**15
        self.replies: Counter[str] = Counter()
        self.states: set[str] = set()
        self.deaths = 0
        for account in ACCOUNTS:
            self.order("in", account, DEPOSIT if account == POOR else 20 * DEPOSIT)

    def order(self, kind: str, account: str, amount: int) -> None:
        self.orders.append(Order(next(self.names), kind, account, amount))

    def live(self, actions: int, *, ends: str) -> None:
        """`ends`: "killed", "in order", or "closed", which is in order with nothing left open."""
        fuse, life = self.disks.fuse, Life(self)
        hiccups = fuse.hiccups
        try:
            life.start()
            life.work(actions)
            if ends != "killed":
                life.end(close_all=ends == "closed")
        except (LedgerError, SpoolError, OSError) as error:
            if not fuse.burnt and fuse.hiccups == hiccups:
                raise AssertionError("an error on a disk that works") from error
        finally:
            self.deaths += fuse.burnt or ends == "killed"
            fuse.blow()
            life.close_files()
            self.replies += life.replies
            self.disks.end_process()

    def audit(self) -> None:
        """The end: nothing open, nothing held."""
        books = self.truth.books
        assert not self.truth.crash_closes(0)
        assert not books.held.total() + books.shortfall_held
        assert all(books.posted(account) >= 0 for account in ACCOUNTS)


class Life:
    """From a start to a death. Every answer is compared to what the models say."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truth = world.truth
        self.fuse = world.disks.fuse
        self.rng = world.rng
        self.replies: Counter[str] = Counter()
        self.calls: deque[Callable[[], None]] = deque()
        """What waits for the event loop."""
        self._files: list[SqliteLedger | Spool] = []
        self._open: dict[str, tuple[OpenCharge, int]] = {}
        self._keys = {key: KeyModel(limits) for key, (_, limits) in KEYS.items()}
        self._appended: list[Row] = []
        """Not yet in a commit that returned."""
        self._favourite = self.rng.choice(list(KEYS))
        self._seq = 0
        self._asked: list[tuple[str, Future[None]]] = []

    # -- the start --------------------------------------------------------------------------------

    def start(self) -> None:
        world = self.world
        self.fuse.phase = "start"
        self.ledger = SqliteLedger(world.folder / "ledger.db", clock_ns=lambda: world.now_ns)
        self._files.append(self.ledger)
        self.auditor = Auditor(self.ledger, self.truth, ACCOUNTS)
        self.auditor.replies = self.replies
        self._rows_max = self.rng.choice((12, 10**6))
        spool = Spool(world.folder, rows_max=self._rows_max, folder=world.disks.spool)
        self.spool = spool
        self._files.append(spool)
        rows_landed = self.truth.settle_rows(spool.last_seq)
        post_landed = self.truth.settle_post(self.ledger.watermark(spool.writer))
        self.settle_orders()
        self.auditor.audit()
        self.recover()
        spool.start(self.calls.append)
        self.budget = Budget()
        self.poster = Poster(spool, self.auditor, self.on_posted)  # type: ignore[arg-type]
        self.poster.resume()
        self.credit = CreditModel(spool.last_seq)
        self._seq = spool.last_seq
        self.till = Till(
            spool=spool,
            poster=self.poster,
            budget=self.budget,
            limiter=local_limiter(),
            source=LedgerSource(self.poster, self.budget),
            purses=Purses(self.poster.refresh, self.budget.forget),
        )
        if self.rng.random() < 0.8:
            self._asked = [(account, self.poster.refresh(account)) for account in ACCOUNTS]
            self.post()
        world.states.add(f"start: rows in doubt landed {rows_landed}, post {post_landed}")
        self.fuse.phase = "work"

    def recover(self) -> None:
        closes = self.truth.crash_closes(self.world.now_ns)
        self.truth.row_doubt = closes
        found = self.spool.recover(self.world.now_ns)
        assert found == len(closes), f"{found} charges were open, not {len(closes)}"
        self.truth.settle_rows(self.spool.last_seq)
        self.replies["recover"] += 1
        self.world.states.add(f"recovered {min(len(closes), 3)}")

    def on_posted(self, updates: list[BalanceUpdate]) -> None:
        told = self.auditor.told.popleft()
        for update in updates:
            available, upto_seq = told[update.account]
            assert update.available_nano_usd == available
            self.credit.tell(update.account, available, upto_seq)
        self.budget.update(updates)

    # -- the work ---------------------------------------------------------------------------------

    def work(self, actions: int) -> None:
        chances = (self.ask, 8), (self.go_on, 9), (self.write, 6), (self.hear, 6)
        chances += (self.post, 4), (self.operate, 1), (self.wait, 2)
        what, weights = zip(*chances, strict=True)
        for action in self.rng.choices(what, weights, k=actions):
            action()

    def ask(self) -> None:
        """A request: admitted or refused as the models say."""
        key = self._favourite if self.rng.random() < 0.5 else self.rng.choice(list(KEYS))
        account, limits = KEYS[key]
        tokens = self.rng.randrange(1, 30)
        name = next(self.world.names)
        charge = OpenCharge(
            charge_id=name,
            request_id=f"req_{name}",
            account=account,
            key_id=key,
            model="tiny",
            price=PRICE,
            hold_nano_usd=10 * PRICE.prompt_nano_usd + tokens * PRICE.completion_nano_usd,
            prompt_tokens_estimate=10,
            created_ns=self.world.now_ns,
        )
        if not self.recording():
            return
        model, asked = self._keys[key], 10 + tokens
        free, credit = model.free(self.world.now_ns), self.credit.available(account)
        pools = self.till.limits_of(key, limits)
        shortage = self.till.reserve(charge, pools, asked, self.world.now_ns)
        short = {"requests": 1, "tokens": asked, "concurrency": 1}
        short = {name: n for name, n in short.items() if free.get(name, n) < n}
        if short:
            assert shortage is not None, f"passed its limits: {short} of {free}"
            assert shortage.kind.value in short
            assert shortage.free == free[shortage.kind.value]
        elif credit is None or credit < charge.hold_nano_usd:
            assert shortage is not None, f"reserved {charge.hold_nano_usd} of {credit}"
            assert (shortage.kind, shortage.free) == (LimitKind.CREDIT, credit or 0)
            if self.till.source.worth_asking(shortage, charge, limits, asked, 0):
                self._asked.append((account, self.poster.refresh(account)))
        else:
            assert shortage is None, f"refused with {free} and {credit}: {shortage}"
            model.take(name, asked, self.world.now_ns)
            self._open[name] = charge, asked
            self.record(charge, awaited=self.rng.random() < 0.7)
        self.replies[f"asked: {shortage.kind.value if shortage else 'admitted'}"] += 1

    def recording(self) -> bool:
        """Rows of progress alone may count as booked before the watermark moves over them."""
        if not self.till.recording:
            assert self._seq - self.truth.booked >= self._rows_max
            self.replies["asked: the spool is full"] += 1
            return False
        assert self._seq - len(self.truth.rows) < self._rows_max
        return True

    def go_on(self) -> None:
        """Progress or the end of a charge."""
        if not self._open:
            return
        name = self.rng.choice(list(self._open))
        asked = self._open[name][1]
        used_tokens = self.rng.randrange(1, asked + 5)
        if self.rng.random() < 0.45:
            self.record(progressed(name, used_tokens), awaited=False)
            return
        self.close(name, self.rng.choice(BILLED) if self.rng.random() < 0.75 else None, used_tokens)

    def close(self, name: str, billed: ChargeOutcome | None, completion: int) -> None:
        charge, _ = self._open.pop(name)
        usage: Usage | None = used(completion) if billed else None
        outcome = billed or self.rng.choice(FREE)
        row = closed(name, usage)
        row = CloseCharge(
            charge_id=name,
            outcome=outcome,
            node_id=row.node_id,
            supplier_id=row.supplier_id,
            usage=usage,
            usage_source=row.usage_source,
            closed_ns=self.world.now_ns,
            ttft_ns=row.ttft_ns,
        )
        self.record(row, awaited=True)
        model = self._keys[charge.key_id]
        if usage is not None:
            model.end(name, usage.prompt_tokens + usage.completion_tokens)
        else:
            model.end(name, None if outcome is ChargeOutcome.NO_CAPACITY else 0)
        self.replies[f"closed: {outcome}"] += 1

    def record(self, row: OpenCharge | ChargeProgress | CloseCharge, *, awaited: bool) -> None:
        self._seq += 1
        self._appended.append(row)
        self.credit.append(self._seq, row)
        seq = self._seq

        def on_durable(failure: Exception | None) -> None:
            assert failure is None
            self.truth.told_seq = max(self.truth.told_seq, seq)
            self.replies["durable"] += 1

        self.till.record(row, on_durable if awaited else None)

    def write(self) -> None:
        """One commit of the spool's thread."""
        batch, self._appended = self._appended, []
        self.truth.row_doubt = batch
        assert self.spool.step() == bool(batch)
        self.truth.settle_rows(self.spool.last_seq)
        assert len(self.truth.rows) == self._seq

    def hear(self) -> None:
        """The event loop runs some of what waits for it."""
        for _ in range(self.rng.randrange(len(self.calls) + 1)):
            self.calls.popleft()()

    def post(self) -> None:
        """One step of the poster's thread."""
        hiccups = self.fuse.hiccups
        try:
            self.poster.step()
        except LedgerError as error:
            if self.fuse.hiccups == hiccups:
                raise
            self.poster._answer(error)
            self.world.states.add("post: failed for a moment")
            return
        left = self.truth.rows[self.truth.booked :]
        assert all(isinstance(row, ChargeProgress) for row in left), "not all is booked"
        for account, asked in self._asked:
            assert asked.done(), f"nobody told {account}'s balance"
        self._asked = []

    def operate(self) -> None:
        """A deposit, or money taken away, perhaps from under a hold that is not booked yet."""
        if self.rng.random() < 0.5:
            self.world.order("in", self.rng.choice(ACCOUNTS), DEPOSIT // 4)
        else:
            self.world.order("out", POOR, 3000)
        hiccups = self.fuse.hiccups
        try:
            self.settle_orders()
        except LedgerError:
            if self.fuse.hiccups == hiccups:
                raise

    def settle_orders(self) -> None:
        """Ask until there is an answer: what was asked before and never answered, first."""
        orders, books = self.world.orders, self.truth.books
        while orders:
            order = orders[0]
            enough = order.kind == "in" or books.available(order.account) >= order.amount
            expected = {PostResult.OK if enough else PostResult.EXCEEDS_CREDITS}
            expected |= {PostResult.EXISTS} if order.asked else set()
            order.asked = True
            (result,) = self.ledger.post(CLI, [order.group()])
            assert result in expected, f"{order}: {result}, not one of {expected}"
            if result is not PostResult.EXCEEDS_CREDITS:
                (books.deposit if order.kind == "in" else books.withdraw)(
                    order.account, order.amount
                )
            orders.popleft()
            self.replies[f"{order.kind}: {result}"] += 1

    def wait(self) -> None:
        """A while; or until just before or after something leaves its minute."""
        slots = [t.slot for key in self._keys.values() for t in key.taken.values() if t.requests]
        now_ns = self.world.now_ns + self.rng.randrange(40 * SECOND_NS)
        if slots and self.rng.random() < 0.7:
            now_ns = (self.rng.choice(slots) + WINDOW_SLOTS) * SECOND_NS - self.rng.randrange(2)
        self.world.now_ns = max(self.world.now_ns, now_ns)

    # -- the end ----------------------------------------------------------------------------------

    def end(self, *, close_all: bool) -> None:
        self.fuse.phase = "end"
        if close_all:
            for name in list(self._open):
                self.close(name, self.rng.choice(BILLED), 3)
        while self._appended:
            self.write()
        while self.calls:
            self.calls.popleft()()
        self.post()
        self.poster.stop()
        self._files.remove(self.spool)
        self.spool.close()

    def close_files(self) -> None:
        for file in reversed(self._files):
            file.close()
