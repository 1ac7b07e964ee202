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


def _file_content(contract: Json) -> None:
    content = contract["paths"]["/files/{file_id}/content"]["get"]["responses"]["200"]["content"]
    content["application/octet-stream"] = {}


def _prompt(contract: Json) -> None:
    contract["components"]["schemas"]["CreateCompletionRequest"]["properties"]["prompt"] = {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        ]
    }


def _completion_stream(contract: Json) -> None:
    answer = contract["paths"]["/completions"]["post"]["responses"]["200"]
    answer["content"]["text/event-stream"] = {}


def _events(contract: Json) -> None:
    for operations in contract["paths"].values():
        for operation in operations.values():
            if not isinstance(operation, dict):
                continue
            content = operation["responses"].get("200", {}).get("content", {})
            stream = content.get("text/event-stream", {})
            if "schema" in stream:
                told = {"contentMediaType": "application/json", "contentSchema": stream["schema"]}
                data = {"anyOf": [{"const": "[DONE]"}, {"type": "string", **told}]}
                stream["schema"] = {"type": "object", "properties": {"data": data}}


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
    Amendment(
        "a file's content",
        "bytes as they were uploaded: the contract has a JSON string, which OpenAI does not send "
        "either",
        _file_content,
    ),
    Amendment(
        "CreateCompletionRequest.prompt",
        "required, and no null: the contract takes null for <|endoftext|>, which is no token of "
        "most models",
        _prompt,
    ),
    Amendment(
        "a stream of completions",
        "server-sent events: the contract has the parameter and forgets what it does",
        _completion_stream,
    ),
    Amendment(
        "the events of a stream",
        "JSON in `data`, or [DONE]: the contract has the JSON for the event itself",
        _events,
    ),
]


def amended() -> Json:
    """The contract with the amendments made."""
    contract: Json = json.loads(CONTRACT.read_text())
    for amendment in AMENDMENTS:
        amendment.make(contract)
    return contract
