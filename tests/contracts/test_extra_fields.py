"""What vLLM 0.32's answers have beyond OpenAI's document, as a client of the gateway gets them:
each such field is told in the README, and all the rest is of the document's shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.exchange.answers import whole
from metering.stream_meter import StreamMeter

from .amendments import CONTRACT

FOLDER = Path(__file__).parent
GOLDEN = FOLDER.parent / "golden" / "vllm-0.32"
ANSWERS = sorted(
    path.name for path in GOLDEN.glob("c*.200.*") if path.name.startswith(("chat", "completion"))
)
EXTRA = {
    "choices.stop_reason",
    "choices.token_ids",
    "choices.prompt_token_ids",
    "choices.prompt_logprobs",
    "choices.routed_experts",
    "choices.message.reasoning",
    "usage.prompt_tokens_details.multimodal_tokens",
    "service_tier",
    "prompt_token_ids",
    "prompt_text",
    "prompt_logprobs",
    "kv_transfer_params",
    "ec_transfer_params",
    "metrics",
}


def _nullable(schema: Any) -> Any:
    """OpenAPI's word for what JSON Schema says with a type."""
    if isinstance(schema, list):
        return [_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    read = {name: _nullable(each) for name, each in schema.items() if name != "nullable"}
    return {"anyOf": [read, {"type": "null"}]} if schema.get("nullable") is True else read


SCHEMAS = _nullable(json.loads(CONTRACT.read_text())["components"]["schemas"])


def answers(name: str) -> Iterator[dict[str, Any]]:
    """What a client gets of a golden answer: its JSON, or each event of its stream."""
    data = (GOLDEN / name).read_bytes()
    if name.endswith(".json"):
        yield json.loads(whole(data, 0).body or b"")
        return
    many = re.search(r"-n2|-list", name) is not None
    meter = StreamMeter(keep_closing=True, choices=4 if many else 1)
    for event in meter.feed(data).split(b"\n\n"):
        if event:
            yield json.loads(event.removeprefix(b"data: "))


def schema_of(name: str) -> str:
    if name.startswith("completion"):
        return "CreateCompletionResponse"
    return "CreateChatCompletion" + ("Stream" if name.endswith(".sse") else "") + "Response"


def beyond(value: Any, schema: Any, where: str = "") -> Iterator[str]:
    """The fields that the schema has no word for."""
    if isinstance(value, list):
        for each in value:
            yield from beyond(each, _parts(schema).get("items", {}), where)
    elif isinstance(value, dict):
        properties = _parts(schema).get("properties")
        for name, each in value.items() if properties is not None else ():
            path = f"{where}.{name}".lstrip(".")
            if name in properties:
                yield from beyond(each, properties[name], path)
            else:
                yield path


def _parts(schema: Any) -> dict[str, Any]:
    """A schema's own words, with those of what it refers to or is one of."""
    found: dict[str, Any] = {}
    if "$ref" in schema:
        found = _parts(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        more = _parts(each)
        properties = {**found.get("properties", {}), **more.get("properties", {})}
        found = {**found, **more, **({"properties": properties} if properties else {})}
    return {**found, **{name: schema[name] for name in ("properties", "items") if name in schema}}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_the_document_knows_is_as_it_says(name):
    document = {
        "$ref": f"#/components/schemas/{schema_of(name)}",
        "components": {"schemas": SCHEMAS},
    }
    validator = Draft202012Validator(document)
    streamed_completion = name.startswith("completion") and name.endswith(".sse")
    for answer in answers(name):
        if streamed_completion:  # of which the document says nothing: README.md
            for choice in answer["choices"]:
                choice["finish_reason"] = choice["finish_reason"] or "stop"
        assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(answer)] == []


def test_what_it_does_not_know_is_listed():
    found = {
        field
        for name in ANSWERS
        for answer in answers(name)
        for field in beyond(answer, {"$ref": f"#/components/schemas/{schema_of(name)}"})
    }
    assert found == EXTRA
    told = (FOLDER / "README.md").read_text()
    assert [field for field in sorted(EXTRA) if f"`{field}`" not in told] == []
