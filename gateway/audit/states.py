"""What an action changes, as the books know it: for the trail, before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.drain_store import DrainStore
from gateway.enrolment.node_store import NodeStore, UnknownNodeError
from gateway.views.customers import customer_json, key_json
from gateway.views.fields import seconds
from gateway.views.prices import entry_view
from metering.accounts import AccountError
from metering.customer_store import CustomerStore
from metering.database import Database
from metering.key_store import KeyStore
from metering.price_store import PriceStore

State = dict[str, Any] | None


class States:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds: dict[str, Callable[[str], State]] = {
            "account": self._account,
            "deposit": self._account,
            "key": self._key,
            "model": self._model,
            "node": self._node,
            "price": self._price,
        }

    def of(self, action: str, subject: str) -> State:
        """An action's last word says what kind its subject is; None where nothing is known of it.
        Raises LedgerError.
        """
        find = self._kinds.get(action.rpartition("-")[2])
        return find(subject) if find is not None and subject else None

    def _account(self, account: str) -> State:
        try:
            found = CustomerStore(self._database).get(account)
        except AccountError:
            return None
        return None if found is None else customer_json(found)

    def _key(self, key_id: str) -> State:
        found = KeyStore(self._database).get(key_id)
        return None if found is None else key_json(found)

    def _model(self, model: str) -> State:
        return {"drained_at": seconds(DrainStore(self._database).load().models.get(model))}

    def _node(self, node_id: str) -> State:
        drained = {"drained_at": seconds(DrainStore(self._database).load().nodes.get(node_id))}
        try:
            node = NodeStore(self._database).find(node_id)
        except UnknownNodeError:
            return drained
        terms = msgspec.structs.asdict(node.terms)
        return drained | terms | {"revoked_at": seconds(node.revoked_ns)}

    def _price(self, model: str) -> State:
        set_ = [each for each in PriceStore(self._database).load() if each.tariff.model == model]
        return entry_view(set_[-1]) if set_ else None
