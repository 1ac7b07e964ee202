"""Where the contract is not held to, each with its reason; README.md tells them to people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CONTRACT = Path(__file__).parent / "openai-subset.openapi.json"

Json = dict[str, Any]


class Amendment(NamedTuple):
    where: str
    reason: str
    make: Callable[[Json], object]
    """Changes the contract."""


def _embedding(contract: Json) -> None:
    properties = contract["components"]["schemas"]["Embedding"]["properties"]
    properties["embedding"] = {"anyOf": [properties["embedding"], {"type": "string"}]}


def _not_found(contract: Json) -> None:
    whole = {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}
    for path, method in (
        ("/responses/{response_id}", "delete"),
        ("/responses/{response_id}/cancel", "post"),
    ):
        contract["paths"][path][method]["responses"]["404"]["content"]["application/json"] = whole


AMENDMENTS = [
    Amendment(
        "Embedding.embedding",
        "a string where the request says encoding_format base64: the contract has the parameter "
        "and forgets what it does; OpenAI answers with a string too",
        _embedding,
    ),
    Amendment(
        "404 of a response that is deleted or cancelled",
        "an object with `error` in it, as for every other refusal: the contract has the bare "
        "object here, and no client could read that",
        _not_found,
    ),
]


def amended() -> Json:
    """The contract with the amendments made."""
    contract: Json = json.loads(CONTRACT.read_text())
    for amendment in AMENDMENTS:
        amendment.make(contract)
    return contract
