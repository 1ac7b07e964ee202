"""`GET /v1/key`: what the caller's key may do and has used."""

import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response

from gateway.admission.catalogue import Catalogue
from gateway.routes.allowances import allowances
from gateway.routes.auth import Authenticate
from gateway.routes.daily_quotas import daily_quotas
from gateway.routes.key_report import key_report
from metering.customer_store import CustomerStore
from metering.key_store import KeyStore
from metering.keys import ApiKey
from metering.usage_store import UsageStore


def routes(
    authenticate: Authenticate,
    store: KeyStore,
    usage: UsageStore,
    customers: CustomerStore,
    catalogue: Catalogue,
) -> APIRouter:
    api = APIRouter(tags=["keys"])

    @api.get("/v1/key")
    def own(caller: Annotated[ApiKey, Depends(authenticate)]) -> Response:
        """The key that asks: its limits, what is left of them, until when."""
        now_ns = time.time_ns()
        report = key_report(caller, store, usage, customers, now_ns)
        report["allowances"] = allowances(caller.account, catalogue, usage, now_ns)
        report["daily_quotas"] = daily_quotas(caller.account, catalogue, usage, now_ns)
        return Response(msgspec.json.encode({"data": report}), media_type="application/json")

    return api
