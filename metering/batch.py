"""One transaction of bookings: read what the rules need, apply them, write the result.

Ids and resolutions are usually new, and looking each up would cost more than booking it. So a batch
is first tried on the assumption that they are (`careful=False`): the unique indexes catch it where
that is wrong, the transaction is rolled back, and the batch done again with every look-up made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from metering import chain
from metering.charge import ChargeRecord
from metering.database import Session
from metering.ledger import EpochRow
from metering.rules import Booking, Books
from metering.transfer import Group, Transfer, TransferKind

TRANSFER_COLUMNS = "id, kind, debit, credit, amount, code, pending_id, detail"
CHARGE_COLUMNS = ", ".join(ChargeRecord.__struct_fields__)
EPOCH_COLUMNS = ", ".join(EpochRow.__struct_fields__)

_TRANSFER_PLACES = 1 + len(Transfer.__struct_fields__) + 3
_CHARGE_PLACES = 1 + len(ChargeRecord.__struct_fields__)
_KIND = Transfer.__struct_fields__.index("kind")
_SOURCE = ChargeRecord.__struct_fields__.index("usage_source")
_OUTCOME = ChargeRecord.__struct_fields__.index("outcome")

_REPLACE_WRITER = (
    " ON CONFLICT (id) DO UPDATE SET"
    " watermark = excluded.watermark, links = excluded.links, hash = excluded.hash"
)
_REPLACE_ACCOUNT = (
    " ON CONFLICT (id) DO UPDATE SET"
    " debits_pending = excluded.debits_pending, debits_posted = excluded.debits_posted,"
    " credits_pending = excluded.credits_pending, credits_posted = excluded.credits_posted"
)

_PENDING = TransferKind.PENDING

_SORTED_CHARGES = 1024

_encode = msgspec.json.Encoder().encode


class Batch:
    """Lives inside one transaction, at `now_ns` of the wall clock. `holds` are pending transfers
    known from before.
    """

    def __init__(self, db: Session, writer: str, holds: dict[str, Transfer], now_ns: int) -> None:
        self._db = db
        self._writer = writer
        self._holds = holds
        self._books = Books()
        self._books.now_ns = self._now_ns = now_ns
        self._bookings: list[Booking] = []
        self._balances_before: dict[str, list[int]] = {}

    def load(self, groups: Sequence[Group], *, careful: bool) -> None:
        """Read the balances and holds that these groups touch; careful, also what exists."""
        pending_ids: set[str] = set()
        touched: set[str] = set()
        for group in groups:
            for transfer in group.transfers:
                touched.add(transfer.debit)
                touched.add(transfer.credit)
                if transfer.pending_id is not None:
                    pending_ids.add(transfer.pending_id)
            if group.bearer is not None:
                touched.add(group.bearer)
        books = self._books
        if careful:
            ids = {transfer.id for group in groups for transfer in group.transfers}
            books.transfers.update(self._transfers(ids | pending_ids))
            books.resolved.update(self._resolutions(pending_ids))
            books.charges.update(self._charges(ids))
        else:
            self._load_holds(pending_ids)
        for known in books.transfers.values():
            touched.add(known.debit)
            touched.add(known.credit)
        self._balances_before = self._balances(touched)
        books.balances.update({id_: [*kept] for id_, kept in self._balances_before.items()})

    def _load_holds(self, pending_ids: set[str]) -> None:
        known = self._holds
        found = {name: known[name] for name in pending_ids if name in known}
        self._books.transfers.update(found)
        if len(found) < len(pending_ids):
            self._books.transfers.update(self._transfers(pending_ids - found.keys()))

    def book(self, group: Group) -> Booking:
        booking = self._books.post(group)
        if booking.transfers:
            self._bookings.append(booking)
        return booking

    def write(self, watermark: int | None, epoch: EpochRow | None = None) -> None:
        """Write what was booked. The epoch belongs to the first transfer, if there is one."""
        found = self._db.query(
            "SELECT watermark, links, hash FROM writer WHERE id = ?", self._writer
        )
        stands_at, links, link = found[0] if found else (0, 0, chain.GENESIS)
        first = seq = self._db.query("SELECT coalesce(max(seq), 0) + 1 FROM transfer")[0][0]
        booked_ns, writer = self._now_ns, self._writer
        transfers: list[object] = []
        charges: list[tuple[str, int, ChargeRecord]] = []
        record: msgspec.Struct | None = epoch
        for booking in self._bookings:
            charge = booking.charge
            if charge is not None:
                record = charge
                charges.append((charge.account, seq, charge))
            for transfer in booking.transfers:
                link = chain.link(link, seq, booked_ns, transfer, record)
                record = None
                transfers += (seq, *transfer_values(transfer), booked_ns, writer, bytearray(link))
                seq += 1
        self._db.insert("transfer", _TRANSFER_PLACES, transfers)
        self._db.insert("charge", _CHARGE_PLACES, _by_account(charges))
        if epoch is not None:
            values = (*msgspec.structs.astuple(epoch), first if transfers else None)
            self._db.insert("epoch", len(values), values)
        self._write_balances()
        stands_at = max(stands_at, watermark or 0)
        self._db.insert(
            "writer", 4, (self._writer, stands_at, links + seq - first, link), _REPLACE_WRITER
        )

    def remember_holds(self, most: int) -> None:
        """After the commit: keep new holds for the batch that will resolve them."""
        holds = self._holds
        for booking in self._bookings:
            for transfer in booking.transfers:
                if transfer.pending_id is not None:
                    holds.pop(transfer.pending_id, None)
                elif transfer.kind is _PENDING and len(holds) < most:
                    holds[transfer.id] = transfer

    def _write_balances(self) -> None:
        before = self._balances_before
        balances = sorted(self._books.balances.items())
        values: list[object] = []
        for account, balance in balances:
            if before.get(account) != balance:
                values += (account, *balance)
        self._db.insert("account", 5, values, _REPLACE_ACCOUNT)

    def _transfers(self, ids: Iterable[str]) -> dict[str, Transfer]:
        rows = self._db.query(
            f"SELECT {TRANSFER_COLUMNS} FROM transfer WHERE id IN {self._db.listed}", listing(ids)
        )
        return {row[0]: transfer_of(row) for row in rows}

    def _resolutions(self, pending_ids: Iterable[str]) -> dict[str, TransferKind]:
        rows = self._db.query(
            f"SELECT pending_id, kind FROM transfer WHERE pending_id IN {self._db.listed}",
            listing(pending_ids),
        )
        return {pending_id: TransferKind(kind) for pending_id, kind in rows}

    def _charges(self, ids: Iterable[str]) -> dict[str, ChargeRecord]:
        rows = self._db.query(
            f"SELECT id, {CHARGE_COLUMNS} FROM charge JOIN"
            f" (SELECT seq, id FROM transfer WHERE id IN {self._db.listed}) AS named USING (seq)",
            listing(ids),
        )
        return {row[0]: charge_of(row[1:]) for row in rows}

    def _balances(self, accounts: Iterable[str]) -> dict[str, list[int]]:
        rows = self._db.query(
            f"SELECT * FROM account WHERE id IN {self._db.listed}", listing(accounts)
        )
        return {row[0]: list(row[1:]) for row in rows}


def _by_account(charges: list[tuple[str, int, ChargeRecord]]) -> list[object]:
    """Their values, account after account: each page of an index by account is looked for once.

    But only so many in one go: of more, the pages of the table itself are looked for again.
    """
    values: list[object] = []
    for start in range(0, len(charges), _SORTED_CHARGES):
        for _, seq, charge in sorted(charges[start : start + _SORTED_CHARGES]):
            values += (seq, *charge_values(charge))
    return values


def listing(names: Iterable[str]) -> str:
    """The value of the statement `Session.listed`."""
    return _encode(list(names)).decode()


def transfer_values(transfer: Transfer) -> list[object]:
    """Of TRANSFER_COLUMNS, in types that sqlite3 binds without asking."""
    values = list(msgspec.structs.astuple(transfer))
    values[_KIND] = str(transfer.kind)
    return values


def charge_values(charge: ChargeRecord) -> list[object]:
    """Of CHARGE_COLUMNS, in types that sqlite3 binds without asking."""
    values = list(msgspec.structs.astuple(charge))
    if charge.usage_source is not None:
        values[_SOURCE] = str(charge.usage_source)
    values[_OUTCOME] = str(charge.outcome)
    return values


def transfer_of(row: Sequence[object]) -> Transfer:
    """A transfer from its TRANSFER_COLUMNS."""
    return msgspec.convert(dict(zip(Transfer.__struct_fields__, row, strict=True)), Transfer)


def charge_of(row: Sequence[object]) -> ChargeRecord:
    """A charge from its CHARGE_COLUMNS."""
    return msgspec.convert(
        dict(zip(ChargeRecord.__struct_fields__, row, strict=True)), ChargeRecord
    )


def epoch_of(row: Sequence[object]) -> EpochRow:
    """An epoch from its EPOCH_COLUMNS."""
    return msgspec.convert(dict(zip(EpochRow.__struct_fields__, row, strict=True)), EpochRow)
