"""`/explorer`: the network for anyone to look at, and a supplier's proof for anyone to check."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway import errors
from gateway.console.network import Observatory
from gateway.console.pages import Pages
from gateway.console.parts import Parts
from gateway.console.sightings import sight
from gateway.console.views import Readers, Routes, form_of
from gateway.settlement.epochs import Epochs
from ide.commitment import head_of
from ide.proof import CheckedProof, ProofError, check_proof
from ide.settlement import SettlementError

_SUPPLIER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EPOCH = re.compile(r"[1-9][0-9]{0,14}")
_EPOCHS_PAGE = 50


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`published` is the hash of the epoch's head as this gateway publishes it."""

    checked: CheckedProof | None
    problem: str = ""
    published: str | None = None

    @property
    def holds(self) -> bool:
        return self.checked is not None and self.checked.head_hash == self.published


class Explorer:
    def __init__(self, parts: Parts, pages: Pages, read: Readers, observatory: Observatory) -> None:
        self._parts = parts
        self._pages = pages
        self._read = read
        self._observatory = observatory

    @property
    def routes(self) -> Routes:
        return [
            ("GET", "/explorer", self._show),
            ("GET", "/explorer/epochs", self._epochs),
            ("GET", "/explorer/proof", self._prove),
            ("POST", "/explorer/proof", self._check),
        ]

    async def _show(self, _: Request) -> Response:
        sightings = await sight(self._parts)

        def page() -> Response:
            network = self._observatory.network(sightings)
            return self._pages.render("explorer", area="explorer", network=network)

        return await self._read(page)

    async def _epochs(self, request: Request) -> Response:
        before = _number(request.query_params.get("before"))

        def page() -> Response:
            found = self._parts.books.epochs.newest(before=before, limit=_EPOCHS_PAGE + 1)
            heads = [head_of(seal) for seal in found[:_EPOCHS_PAGE]]
            more = heads[-1].epoch if len(found) > _EPOCHS_PAGE else None
            return self._pages.render("epochs", area="explorer", epochs=heads, more=more)

        return await self._read(page)

    async def _prove(self, request: Request) -> Response:
        """A supplier's proof as this gateway makes it, checked; without a question the form."""
        supplier = request.query_params.get("supplier", "").strip()
        asked = request.query_params.get("epoch", "").strip()
        if not supplier and not asked:
            return await self._read(lambda: self._proof_page(None, "", ""))
        epoch = _number(asked)
        if epoch is None or not _SUPPLIER.fullmatch(supplier):
            problem = "Give the number of a settled epoch and the id of a supplier."
            return await self._read(
                lambda: self._proof_page(Verdict(checked=None, problem=problem), asked, supplier)
            )

        def page() -> Response:
            try:
                proof = self._parts.books.epochs.proof(epoch, supplier, with_charges=False)
                verdict = judged(msgspec.json.encode(proof), self._parts.books.epochs)
            except SettlementError as error:
                verdict = Verdict(checked=None, problem=f"{error}.")
            return self._proof_page(verdict, asked, supplier)

        return await self._read(page)

    async def _check(self, request: Request) -> Response:
        """A proof that somebody has, whoever made it."""
        form = await form_of(request)
        proof = form.get("proof", "").encode()

        def page() -> Response:
            return self._proof_page(judged(proof, self._parts.books.epochs), "", "")

        return await self._read(page)

    def _proof_page(self, verdict: Verdict | None, epoch: str, supplier: str) -> Response:
        status = 200 if verdict is None or verdict.checked is not None else 422
        return self._pages.render(
            "proof", status, area="explorer", verdict=verdict, epoch=epoch, supplier=supplier
        )


def judged(proof: bytes, epochs: Epochs) -> Verdict:
    """Does it hold in itself, and is it of an epoch as it is published here? Raises LedgerError."""
    try:
        checked = check_proof(proof)
    except ProofError as error:
        return Verdict(checked=None, problem=f"{error}.")
    found = epochs.newest(before=checked.epoch + 1, limit=1)
    published = found[0].hash if found and found[0].epoch == checked.epoch else None
    return Verdict(checked=checked, published=published)


def _number(text: str | None) -> int | None:
    """Raises ApiError for a text that is no epoch's number."""
    if not text:
        return None
    if not _EPOCH.fullmatch(text):
        raise errors.bad_request(f"'{text[:20]}' is no number of an epoch.")
    return int(text)
