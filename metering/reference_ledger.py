"""The ledger in memory, which the others must equal: the oracle of tests. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from metering import chain
from metering.accounts import AccountError, asset_of
from metering.charge import ChargeRecord
from metering.epoch_seal import EpochSeal, PayoutRow, SealedEpoch, ServedCharge, WriterEnd
from metering.ledger import (
    AccountBalance,
    Balance,
    BookedTransfer,
    ChargeTotal,
    EpochRow,
    Group,
    OnProgress,
    PostResult,
    Transfer,
    TransferKind,
    Verification,
    follows,
    same_epoch,
)
from metering.rules import Books


class ReferenceLedger:
    """The ledger in memory: the oracle of tests, and the books of a gateway that keeps none."""

    def __init__(self, clock_ns: Callable[[], int] = lambda: 0) -> None:
        self._clock_ns = clock_ns
        self._books = Books()
        self._rows: list[BookedTransfer] = []
        self._chains: dict[str, bytes] = {}
        self._watermarks: dict[str, int] = {}
        self._charges: list[tuple[int, ChargeRecord]] = []
        self._epochs: list[EpochRow] = []
        self._sealed: dict[int, SealedEpoch] = {}

    def post(
        self, writer: str, groups: Sequence[Group], watermark: int | None = None
    ) -> list[PostResult]:
        self._books.now_ns = self._clock_ns()
        results = [self._post(writer, group) for group in groups]
        if watermark is not None and all(result.booked for result in results):
            self._watermarks[writer] = max(watermark, self.watermark(writer))
        return results

    def _post(self, writer: str, group: Group, epoch: EpochRow | None = None) -> PostResult:
        booking = self._books.post(group)
        if booking.charge is not None:
            self._charges.append((self.last_seq() + 1, booking.charge))
        record: ChargeRecord | EpochRow | None = booking.charge or epoch
        for transfer in booking.transfers:
            self._append(writer, transfer, record)
            record = None
        return booking.result

    def _append(
        self, writer: str, transfer: Transfer, record: ChargeRecord | EpochRow | None
    ) -> None:
        seq, now_ns = self.last_seq() + 1, self._books.now_ns
        before = self._chains.get(writer, chain.GENESIS)
        link = self._chains[writer] = chain.link(before, seq, now_ns, transfer, record)
        self._rows.append(
            BookedTransfer(
                seq=seq,
                booked_ns=now_ns,
                writer=writer,
                hash=link,
                transfer=transfer,
                settles=record,
            )
        )

    def watermark(self, writer: str) -> int:
        return self._watermarks.get(writer, 0)

    def open_account(self, account: str) -> bool:
        if asset_of(account) is None:
            raise AccountError(f"'{account}' is no account of the chart")
        if account in self._books.balances:
            return False
        self._books.balances[account] = [0, 0, 0, 0]
        return True

    def balance(self, account: str) -> Balance:
        return self.balances([account]).get(account, Balance())

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        balances = self._books.balances
        return {account: Balance(*balances[account]) for account in accounts if account in balances}

    def trial_balance(self) -> list[AccountBalance]:
        lines = sorted(self._books.balances.items())
        return [AccountBalance(account, Balance(*balance)) for account, balance in lines]

    def charges(
        self,
        account: str | None = None,
        *,
        after_seq: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[ChargeRecord]:
        charges = reversed(self._charges) if newest_first else iter(self._charges)
        found = (
            charge
            for seq, charge in charges
            if seq > after_seq and account in (None, charge.account)
        )
        return islice(found, limit)

    def charge_totals(self, from_seq: int, to_seq: int) -> list[ChargeTotal]:
        billed: dict[tuple[str, str], list[ChargeRecord]] = {}
        for seq, charge in self._charges:
            if from_seq < seq <= to_seq and charge.supplier_id and charge.usage_source:
                billed.setdefault((charge.supplier_id, charge.model), []).append(charge)
        return [
            ChargeTotal(
                supplier_id=supplier_id,
                model=model,
                prompt_tokens=sum(charge.prompt_tokens for charge in charges),
                completion_tokens=sum(charge.completion_tokens for charge in charges),
                cost_nano_usd=sum(charge.cost_nano_usd for charge in charges),
                charged_nano_usd=sum(charge.charged_nano_usd for charge in charges),
                charges=len(charges),
            )
            for (supplier_id, model), charges in sorted(billed.items())
        ]

    def last_seq(self) -> int:
        return len(self._rows)

    def booked(
        self,
        after_seq: int = 0,
        to_seq: int | None = None,
        *,
        since_ns: int = 0,
        until_ns: int | None = None,
    ) -> Iterator[BookedTransfer]:
        for row in self._rows[after_seq:to_seq]:
            if row.booked_ns >= since_ns and (until_ns is None or row.booked_ns < until_ns):
                yield row

    def open_holds(self, after_seq: int = 0) -> Iterator[tuple[int, Transfer]]:
        for row in self._rows[after_seq:]:
            transfer = row.transfer
            if transfer.kind is TransferKind.PENDING and transfer.id not in self._books.resolved:
                yield row.seq, transfer

    def post_epoch(
        self,
        row: EpochRow,
        groups: Sequence[Group],
        writer: str,
        sealed: SealedEpoch | None = None,
    ) -> PostResult:
        known = self.epoch(row.epoch)
        if known is not None:
            same = same_epoch(row, known)
            return PostResult.EXISTS if same else PostResult.EXISTS_WITH_DIFFERENT_EPOCH
        if not follows(row, self._epochs[-1] if self._epochs else None, self.last_seq()):
            return PostResult.INVALID_EPOCH
        linked = Group(transfers=tuple(t for group in groups for t in group.transfers))
        self._books.now_ns = self._clock_ns()
        result = self._post(writer, linked, row) if linked.transfers else PostResult.OK
        if result is PostResult.EXISTS:
            return PostResult.LINKED_FAILED
        if result is PostResult.OK:
            self._epochs.append(row)
            if sealed is not None:
                self._sealed[row.epoch] = sealed
        return result

    def epoch(self, number: int) -> EpochRow | None:
        return next((row for row in self._epochs if row.epoch == number), None)

    def latest_epoch(self) -> EpochRow | None:
        return self._epochs[-1] if self._epochs else None

    def epochs(self) -> Iterator[EpochRow]:
        return iter(self._epochs)

    def seals(self, *, before: int | None = None, limit: int = 1) -> list[EpochSeal]:
        numbers = [epoch for epoch in self._sealed if before is None or epoch < before]
        return [self._sealed[epoch].seal for epoch in sorted(numbers, reverse=True)[:limit]]

    def payouts(
        self, epoch: int, *, after_leaf: int = -1, limit: int | None = None
    ) -> Iterator[PayoutRow]:
        rows = self._sealed[epoch].payouts if epoch in self._sealed else ()
        return islice(rows, after_leaf + 1, None if limit is None else after_leaf + 1 + limit)

    def payout(self, epoch: int, supplier_id: str) -> PayoutRow | None:
        return next((row for row in self.payouts(epoch) if row.supplier_id == supplier_id), None)

    def served_charges(
        self, from_seq: int, to_seq: int, supplier_id: str | None = None
    ) -> Iterator[ServedCharge]:
        for seq, charge in self._charges:
            if not from_seq < seq <= to_seq or not charge.supplier_id or not charge.usage_source:
                continue
            if supplier_id in (None, charge.supplier_id):
                facts = [getattr(charge, name) for name in ServedCharge.__struct_fields__[2:]]
                yield ServedCharge(seq, self._rows[seq - 1].hash.hex(), *facts)

    def writer_ends(self, from_seq: int, to_seq: int) -> list[WriterEnd]:
        last = {row.writer: row for row in self.booked(from_seq, to_seq)}
        return [
            WriterEnd(writer=writer, seq=row.seq, hash=row.hash.hex())
            for writer, row in sorted(last.items())
        ]

    def verify(self, on_progress: OnProgress | None = None) -> Verification:
        lines = self.trial_balance()
        pending = sum(line.balance.debits_pending - line.balance.credits_pending for line in lines)
        posted = sum(line.balance.posted for line in lines)
        return Verification(
            ok=pending == posted == 0,
            transfers=self.last_seq(),
            charges=len(self._charges),
            accounts=len(lines),
            writers=len(self._watermarks),
            problem=None if pending == posted == 0 else "debits do not equal credits",
        )

    def data_version(self) -> int:
        return 0

    def close(self) -> None:
        pass
