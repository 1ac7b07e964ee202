"""The auditor: derives every balance, hold and hash chain of a ledger anew, and compares.

Reads one snapshot, so the gateway may go on writing. Needs memory for open holds and accounts only.
"""

from __future__ import annotations

import msgspec

from metering import chain
from metering.accounts import customer
from metering.batch import (
    CHARGE_COLUMNS,
    EPOCH_COLUMNS,
    TRANSFER_COLUMNS,
    charge_of,
    epoch_of,
    transfer_of,
)
from metering.charge import ChargeRecord
from metering.database import Snapshot
from metering.ledger import ChainEnd, DamagedError, EpochRow, OnProgress, Verification
from metering.posting import CODE_SHORTFALL
from metering.rules import Books
from metering.transfer import Group, PostResult, Transfer, TransferKind

_TOLD_ROWS = 10_000


def verify(snapshot: Snapshot, on_progress: OnProgress | None = None) -> Verification:
    """Raises LedgerError if the ledger cannot be read at all."""
    audit = _Audit(snapshot, on_progress)
    try:
        audit.run()
    except _FindingError as finding:
        return audit.report(finding)
    except msgspec.ValidationError as error:
        return audit.report(_FindingError(f"the row after {audit.seq} cannot be: {error}"))
    except DamagedError as error:
        return audit.report(_FindingError(str(error)))
    return audit.report(None)


class _FindingError(Exception):
    def __init__(self, problem: str, seq: int | None = None) -> None:
        super().__init__(problem)
        self.seq = seq


class _Audit:
    def __init__(self, snapshot: Snapshot, on_progress: OnProgress | None) -> None:
        self.seq = 0
        """The last row that is right."""
        self._snapshot = snapshot
        self._on_progress = on_progress
        self._books = Books()
        self._chains: dict[str, tuple[int, bytes]] = {}
        self._transfers = 0
        self._charges = 0
        self._shortfall_due = 0

    def report(self, finding: _FindingError | None) -> Verification:
        return Verification(
            ok=finding is None,
            transfers=self._transfers,
            charges=self._charges,
            accounts=len(self._books.balances),
            writers=len(self._chains),
            first_bad_seq=finding.seq if finding else None,
            problem=str(finding) if finding else None,
            chains={
                writer: ChainEnd(links=links, hash=link.hex())
                for writer, (links, link) in self._chains.items()
            },
        )

    def run(self) -> None:
        self._snapshot.check()
        charges = _BySeq(self._snapshot, f"SELECT seq, {CHARGE_COLUMNS} FROM charge ORDER BY seq")
        epochs = _BySeq(
            self._snapshot,
            f"SELECT seq, {EPOCH_COLUMNS} FROM epoch WHERE seq IS NOT NULL ORDER BY seq",
        )
        rows = self._snapshot.rows(
            f"SELECT seq, booked_ns, writer, hash, {TRANSFER_COLUMNS} FROM transfer ORDER BY seq"
        )
        writers = self._writers()
        ((last_seq,),) = self._snapshot.rows("SELECT coalesce(max(seq), 0) FROM transfer")
        for seq, booked_ns, writer, link, *facts in rows:
            if seq % _TOLD_ROWS == 0 and self._on_progress is not None:
                self._on_progress(seq, last_seq)
            if seq != self.seq + 1:
                raise _FindingError(f"row {self.seq + 1} is gone", self.seq + 1)
            transfer = transfer_of(facts)
            charge_row, epoch_row = charges.at(seq), epochs.at(seq)
            charge = None if charge_row is None else charge_of(charge_row)
            epoch = None if epoch_row is None else epoch_of(epoch_row)
            self._check_link(seq, booked_ns, writer, link, transfer, charge or epoch)
            self._check_length(seq, writer, transfer, writers)
            self._books.now_ns = booked_ns
            self._apply(seq, transfer)
            self._check_charge(seq, transfer, charge)
            self.seq = seq
        charges.check_used_up("charge")
        epochs.check_used_up("epoch")
        self._check_epochs()
        self._check_ends(writers)
        self._check_balances()

    def _check_link(
        self,
        seq: int,
        booked_ns: int,
        writer: str,
        link: bytes,
        transfer: Transfer,
        record: ChargeRecord | EpochRow | None,
    ) -> None:
        links, before = self._chains.get(writer, (0, chain.GENESIS))
        if chain.link(before, seq, booked_ns, transfer, record) != link:
            raise _FindingError(
                f"transfer {transfer.id}: it or what was booked with it was changed, or a row of "
                f"writer {writer} before it is gone: the hash chain breaks here",
                seq,
            )
        self._chains[writer] = (links + 1, link)

    def _check_length(
        self, seq: int, writer: str, transfer: Transfer, writers: dict[str, tuple[int, bytes]]
    ) -> None:
        """A row put behind the end of a chain has a hash that fits, but is not counted."""
        booked = writers.get(writer, (0, b""))[0]
        if self._chains[writer][0] > booked:
            raise _FindingError(
                f"transfer {transfer.id}: writer {writer} booked {booked} transfers, this is one "
                "more",
                seq,
            )

    def _apply(self, seq: int, transfer: Transfer) -> None:
        books = self._books
        result = books.post(Group(transfers=(transfer,))).result
        if result is not PostResult.OK:
            raise _FindingError(f"transfer {transfer.id} breaks a rule: {result}", seq)
        self._transfers += 1
        if transfer.kind is not TransferKind.PENDING:
            del books.transfers[transfer.id]
        if transfer.pending_id is not None:
            del books.transfers[transfer.pending_id]
            del books.resolved[transfer.pending_id]

    def _check_charge(self, seq: int, transfer: Transfer, charge: ChargeRecord | None) -> None:
        if self._shortfall_due:
            if transfer.code != CODE_SHORTFALL or transfer.amount != self._shortfall_due:
                raise _FindingError(
                    f"transfer {transfer.id} is not the shortfall of {self._shortfall_due} that "
                    "the charge before it leaves",
                    seq,
                )
            self._shortfall_due = 0
        if charge is None:
            return
        self._charges += 1
        by_customer = transfer.debit == customer(charge.account)
        if charge.charged_nano_usd != (transfer.amount if by_customer else 0):
            raise _FindingError(
                f"charge {charge.charge_id} says {charge.charged_nano_usd} was paid, its transfer "
                f"moved {transfer.amount} from {transfer.debit}",
                seq,
            )
        self._shortfall_due = charge.cost_nano_usd - transfer.amount

    def _check_epochs(self) -> None:
        end: tuple[int, int] | None = None
        rows = self._snapshot.rows("SELECT epoch, from_seq, to_seq FROM epoch ORDER BY epoch")
        for epoch, from_seq, to_seq in rows:
            if from_seq != (end[1] if end else 0) or (end and epoch != end[0] + 1):
                raise _FindingError(f"epoch {epoch} does not follow the one before it", from_seq)
            end = (epoch, to_seq)

    def _writers(self) -> dict[str, tuple[int, bytes]]:
        """How many links each writer's chain has, and the last of them."""
        rows = self._snapshot.rows("SELECT id, links, hash FROM writer WHERE links > 0 ORDER BY id")
        return {writer: (links, link) for writer, links, link in rows}

    def _check_ends(self, writers: dict[str, tuple[int, bytes]]) -> None:
        for writer, (links, link) in writers.items():
            found, end = self._chains.get(writer, (0, b""))
            if found < links:
                raise _FindingError(
                    f"writer {writer} booked {links} transfers, the ledger holds {found} of them: "
                    f"the rows from {self.seq + 1} on are gone",
                    self.seq + 1,
                )
            if end != link:
                raise _FindingError(
                    f"writer {writer}: the end of its chain is not the hash of its last transfer"
                )

    def _check_balances(self) -> None:
        if self._shortfall_due:
            raise _FindingError("the shortfall of the last charge is missing")
        rows = self._snapshot.rows("SELECT * FROM account")
        kept = {account: counters for account, *counters in rows}
        for account in sorted(kept.keys() | self._books.balances.keys()):
            derived = self._books.balances.get(account, [0, 0, 0, 0])
            if kept.get(account, [0, 0, 0, 0]) != derived:
                raise _FindingError(
                    f"account {account} shows {kept.get(account)}, its transfers make {derived} "
                    "(debits pending, debits posted, credits pending, credits posted)"
                )


class _BySeq:
    """Rows beside the transfers, read along with them: each belongs to the transfer of its seq."""

    def __init__(self, snapshot: Snapshot, query: str) -> None:
        self._rows = snapshot.rows(query)
        self._next = next(self._rows, None)

    def at(self, seq: int) -> tuple[object, ...] | None:
        if self._next is None or self._next[0] != seq:
            return None
        row: tuple[object, ...] = self._next[1:]
        self._next = next(self._rows, None)
        return row

    def check_used_up(self, what: str) -> None:
        if self._next is not None:
            raise _FindingError(f"a {what} has no transfer of its own", self._next[0])
