"""The price book in the ledger's database: tariffs are added, and never changed."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from metering.database import Database, Session
from metering.ledger import LedgerError
from metering.off_peak import OffPeakWindow
from metering.price_book import ALWAYS_NS, LEAD_NS, Tariff, earliest_ns
from metering.prices import PriceError, PriceTakenError

_COLUMNS = (
    "seq, id, model, effective_ns, prompt_nano_usd, cached_prompt_nano_usd, completion_nano_usd, "
    "request_nano_usd, batch_discount_ppm, off_peak, set_ns"
)
NAME_CHARS_MAX = 200

_windows = msgspec.json.Decoder(tuple[OffPeakWindow, ...])


class PriceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A tariff as it was set; `seq` counts them from 1."""

    seq: int
    id: str
    tariff: Tariff
    set_ns: int


class PriceStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry_id: str, tariff: Tariff, now_ns: int) -> PriceEntry:
        """Set a tariff, one of ALWAYS_NS as early as can be. The same again is the same entry.

        Raises PriceError if it is to take effect before `earliest_ns`, or if a name is none; and
        PriceTakenError if the id is that of another entry.
        """
        _check_name("id", entry_id)
        _check_name("model", tariff.model)
        soonest_ns = earliest_ns(now_ns)
        with self._database.transaction() as session:
            found = session.query(f"SELECT {_COLUMNS} FROM price WHERE id = ?", entry_id)
            if found:
                return _repeated(_entry(found[0]), tariff)
            if tariff.effective_ns == ALWAYS_NS:
                tariff = replace(tariff, effective_ns=soonest_ns)
            if tariff.effective_ns < soonest_ns:
                raise PriceError(
                    f"model '{tariff.model}': a price is not changed backwards, nor sooner than in "
                    f"{LEAD_NS // 10**9} s, by when every gateway has read it: name a later time, "
                    "or none to have the earliest"
                )
            return _insert(session, entry_id, tariff, now_ns)

    def load(self, after_seq: int = 0) -> list[PriceEntry]:
        """The entries behind this one, in the order in which they were set."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM price WHERE seq > ? ORDER BY seq", after_seq
        )
        return [_entry(row) for row in rows]


def _insert(session: Session, entry_id: str, tariff: Tariff, now_ns: int) -> PriceEntry:
    ((last,),) = session.query("SELECT coalesce(max(seq), 0) FROM price")
    entry = PriceEntry(seq=last + 1, id=entry_id, tariff=tariff, set_ns=now_ns)
    row = (
        entry.seq,
        entry.id,
        tariff.model,
        tariff.effective_ns,
        *tariff.list_price.amounts,
        tariff.batch_discount_ppm,
        msgspec.json.encode(tariff.off_peak).decode(),
        now_ns,
    )
    places = ", ".join("?" * len(row))
    session.query(f"INSERT INTO price ({_COLUMNS}) VALUES ({places})", *row)
    return entry


def _repeated(entry: PriceEntry, tariff: Tariff) -> PriceEntry:
    asked_ns = tariff.effective_ns or entry.tariff.effective_ns
    if replace(tariff, effective_ns=asked_ns) != entry.tariff:
        raise PriceTakenError(f"price '{entry.id}' was set before, with other terms: take a new id")
    return entry


def _check_name(what: str, name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise PriceError(f"{what}: 1 to {NAME_CHARS_MAX} printable characters, not {name!r}")


def _entry(row: tuple[Any, ...]) -> PriceEntry:
    """Raises LedgerError if somebody wrote what `add` would not."""
    seq, entry_id, model, effective_ns, *amounts, batch, off_peak, set_ns = row
    prompt, cached, completion, request = amounts
    try:
        tariff = Tariff(
            model=model,
            effective_ns=effective_ns,
            prompt_nano_usd=prompt,
            cached_prompt_nano_usd=cached,
            completion_nano_usd=completion,
            request_nano_usd=request,
            batch_discount_ppm=batch,
            off_peak=_windows.decode(off_peak),
        )
    except (PriceError, msgspec.MsgspecError) as error:
        raise LedgerError(f"price {seq} in the ledger is none: {error}") from error
    return PriceEntry(seq=seq, id=entry_id, tariff=tariff, set_ns=set_ns)
