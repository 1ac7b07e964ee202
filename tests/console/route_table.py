"""Every route that a gateway has, and who may use it: a route without a rule is a failed test."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import msgspec
from served import Served

from gateway.openai.request import ENDPOINT_OF_PATH


class May(Enum):
    """Who may use a route."""

    ANYONE = "anyone"
    CUSTOMER = "customer"
    ADMIN = "admin"
    NODE = "node"
    OPERATOR = "operator"
    """Whoever logged in to the console."""


RULES: tuple[tuple[str, May], ...] = (  # the first that fits the whole path
    (r"/|/explorer.*|/static/.*|/playground|/console/login", May.ANYONE),
    (r"/console(/(nodes|decisions|customers|keys|budgets|epochs|proposals|audit))?", May.OPERATOR),
    (r"/console/(nodes|decisions|customers|act|served)/.*|/console/logout", May.OPERATOR),
    (r"/healthz|/readyz|/metrics", May.ANYONE),
    (r"/epochs|/epochs/\{epoch\}(/payouts|/proof)?", May.ANYONE),
    (r"/openrouter/(v1|v2)/models|/openrouter/data-policy", May.CUSTOMER),
    (r"/nodes/v1/(enrol|lease|rotate)", May.NODE),
    (
        r"/admin/v1(/(nodes|accounts|warnings|keys|deposits|prices|drains|audit|findings|decisions|prometheus).*)?",
        May.ADMIN,
    ),
    (r"/provider/scorecard", May.ADMIN),
    (
        r"/v1/(models|messages|responses|key|keys|usage|statements|files|batches)(/.*)?",
        May.CUSTOMER,
    ),
    (r"/tokenize|/detokenize", May.CUSTOMER),
    ("|".join(map(re.escape, ENDPOINT_OF_PATH)), May.CUSTOMER),
)


class Entry(msgspec.Struct, frozen=True):
    method: str
    path: str
    """With its parameters in braces."""

    @property
    def may(self) -> May:
        for pattern, may in RULES:
            if re.fullmatch(pattern, self.path):
                return may
        raise AssertionError(
            f"{self.method} {self.path} has no rule in {__name__}: say there who may use it"
        )

    def asked(self) -> str:
        """A path of it."""
        numbers = {"epoch": "1", "month": "2026-01"}
        return re.sub(
            r"\{(\w+)(:\w+)?\}", lambda found: numbers.get(found[1], "some-id"), self.path
        )


async def entries(served: Served) -> list[Entry]:
    app = served.server.config.app
    found = [Entry("POST", path) for path in ENDPOINT_OF_PATH]
    async for route in _routes(app._rest):
        found += [Entry(method, route.path) for method in route.methods - {"HEAD"}]
    return sorted(found, key=lambda entry: (entry.path, entry.method))


async def _routes(app: Any) -> AsyncIterator[Any]:
    """Those behind the door of the console in place of it."""
    door = None
    for route in app.routes:
        if type(route.endpoint).__name__ == "_Behind":
            door = route.endpoint
        else:
            yield route
    assert door is not None
    for route in (await door._open()).app.routes:
        yield route
