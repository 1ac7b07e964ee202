"""`/admin/v1/.../deposits`, `/refunds`, `/statements`: money in, out again, told by month."""

import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Response
from fastapi.routing import APIRoute
from msgspec import Meta

from gateway import errors
from gateway.billing.billing import Billing
from gateway.billing.objects import booked_object, deposit_object, refund_object
from gateway.routes.body import json_body, query_of
from gateway.routes.page import page_json
from gateway.routes.statements import StatementQuery, statement_answer
from metering.deposit import DepositMethod, DepositOrder, IoPrice
from metering.money import parse_io, parse_usd
from metering.movements import SEQ_MAX
from metering.refund import RefundOrder

_NS = 1_000_000_000
_UnixSeconds = Annotated[int, Meta(ge=0, le=9_000_000_000)]
_IdempotencyKey = Annotated[str | None, Header(alias="idempotency-key")]


class PriceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    usd: str
    source: str
    at: _UnixSeconds


class NewDeposit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    method: DepositMethod
    id: str | None = None
    amount_usd: str | None = None
    amount_io: str | None = None
    io_price: PriceBody | None = None
    reference: str = ""


class NewRefund(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str | None = None
    amount_usd: str | None = None
    """All that can be, if not given."""
    reference: str = ""


class DepositQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[int, Meta(ge=0)] | None = None
    """The `next_cursor` of the page before."""


def routes(billing: Billing, route_class: type[APIRoute]) -> APIRouter:
    api = APIRouter(route_class=route_class)
    book = billing.deposits

    @api.post("/accounts/{account}/deposits")
    def deposit(
        account: str,
        body: Annotated[NewDeposit, Depends(json_body(NewDeposit))],
        response: Response,
        idempotency_key: _IdempotencyKey = None,
    ) -> dict[str, Any]:
        """Book money that came in. The same id and fields again: the same answer."""
        order = _order(account, body, idempotency_key)
        booked, is_new = billing.deposit(order, time.time_ns())
        _mark(response, is_new)
        return deposit_object(booked.deposit)

    @api.get("/accounts/{account}/deposits")
    def list_deposits(
        account: str, query: Annotated[DepositQuery, Depends(query_of(DepositQuery))]
    ) -> dict[str, Any]:
        """The newest first, each with its refunds."""
        _check_known(billing, account)
        before_seq = SEQ_MAX if query.after is None else query.after
        found = book.deposits(account, limit=query.limit + 1, before_seq=before_seq)
        return page_json(found, query.limit, booked_object, lambda booked: str(booked.seq))

    @api.get("/accounts/{account}/statements/{month}")
    def statement(
        account: str,
        month: str,
        query: Annotated[StatementQuery, Depends(query_of(StatementQuery))],
    ) -> Response:
        """A month of an account as JSON, or as a page with `?format=html`."""
        _check_known(billing, account)
        return statement_answer(billing, account, month, query)

    @api.post("/deposits/{deposit_id:path}/refunds")
    def refund(
        deposit_id: str,
        body: Annotated[NewRefund, Depends(json_body(NewRefund))],
        response: Response,
        idempotency_key: _IdempotencyKey = None,
    ) -> dict[str, Any]:
        """Book what goes back of a deposit; the payment itself is the operator's to make."""
        order = RefundOrder(
            refund_id=_id(body.id, idempotency_key),
            nano_usd=None if body.amount_usd is None else parse_usd(body.amount_usd),
            reference=body.reference,
        )
        made, is_new = billing.refund(deposit_id, order)
        _mark(response, is_new)
        return refund_object(made)

    @api.get("/deposits/{deposit_id:path}")
    def show(deposit_id: str) -> dict[str, Any]:
        """With its refunds, and what can still be refunded."""
        booked = book.get(deposit_id)
        return booked_object(booked) | {"refundable_nano_usd": book.refundable_nano_usd(booked)}

    return api


def _check_known(billing: Billing, account: str) -> None:
    if not billing.knows(account):
        raise errors.not_found(f"There is no account '{account[:100]}'.")


def _order(account: str, body: NewDeposit, idempotency_key: str | None) -> DepositOrder:
    price = body.io_price
    in_io = body.method is DepositMethod.IO
    given = body.amount_io if in_io else body.amount_usd
    if given is None or (body.amount_usd is not None and body.amount_io is not None):
        name = "amount_io" if in_io else "amount_usd"
        raise errors.bad_request(
            f"A deposit by {body.method} needs its {name}, as text such as '12.50', and no other "
            "amount.",
            param=name,
            code="invalid_value",
        )
    by_reference = body.method is DepositMethod.CARD and body.id is None
    return DepositOrder(
        # A card's reference names it; the header of a client that always sends one does not.
        deposit_id=body.reference if by_reference else _id(body.id, idempotency_key),
        account=account,
        method=body.method,
        nano_usd=0 if in_io else parse_usd(given),
        io=parse_io(given) if in_io else 0,
        io_price=None
        if price is None
        else IoPrice(nano_usd=parse_usd(price.usd), source=price.source, at_ns=price.at * _NS),
        reference=body.reference,
    )


def _id(in_body: str | None, in_header: str | None) -> str:
    if in_body is not None and in_header is not None and in_body != in_header:
        raise errors.bad_request(
            "The body's id and the header Idempotency-Key differ: give one of them.",
            param="id",
            code="invalid_value",
        )
    name = in_header if in_body is None else in_body
    if name is None:
        raise errors.bad_request(
            "This needs an id, in the body or as the header Idempotency-Key, so that asking again "
            "cannot book it twice.",
            param="id",
            code="invalid_value",
        )
    return name


def _mark(response: Response, is_new: bool) -> None:
    if not is_new:
        response.headers["idempotent-replayed"] = "true"
