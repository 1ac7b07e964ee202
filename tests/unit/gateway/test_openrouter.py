"""Model documents, judged by the contract that OpenRouter publishes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from gateway.config import parse
from gateway.openrouter.documents import Offer, flat_document, typed_document

CONTRACT = Path(__file__).parents[2] / "contracts" / "openrouter-provider-v2.openapi.json"
SPARE = """
[[model]]
id = "spare"
context_tokens_max = 2048
prompt_usd_per_million = "0.001"
completion_usd_per_million = "1000"
"""
FULL = """
[[model]]
id = "acme/full-1"
context_tokens_max = 131072
prompt_usd_per_million = "0.20"
cached_prompt_usd_per_million = "0.05"
completion_usd_per_million = "0.60"
request_usd = "0.00001"
description = "A model."
created = 1763000000

[[model.off_peak]]
utc_from = "22:00"
utc_until = "24:00"
discount_ppm = 500000

[[model.off_peak]]
utc_from = "02:00"
utc_until = "04:30"
discount_ppm = 500000
days = ["sat", "sun"]

[model.listing]
name = "Acme: Full 1"
hugging_face_id = "acme/full-1"
slug = "acme/full-1"
tokenizer = "acme"
quantization = "fp8"
completion_tokens_max = 8192
features = ["tools", "json_mode", "structured_outputs", "logprobs", "reasoning"]
images = true
zero_data_retention = true
deprecation_date = "2027-01-31"
datacenters = [{ country_code = "DE", region = "eu-central" }, { country_code = "US" }]
"""
EMBEDDING = SPARE + 'kinds = ["embeddings"]\n'


def offer(text: str, *, concurrency: int = 64, ready: bool = True) -> Offer:
    (config,) = parse(text).model
    return Offer(config=config, tariff=config.tariff(), concurrency=concurrency, ready=ready)


def judge(document: dict) -> None:
    schemas = json.loads(CONTRACT.read_text())
    contract = {"$ref": "#/components/schemas/ModelDocumentV2", **schemas}
    jsonschema.Draft202012Validator(contract).validate(json.loads(json.dumps(document)))


@pytest.mark.parametrize("text", [SPARE, FULL, EMBEDDING])
@pytest.mark.parametrize("concurrency", [0, 64])
def test_every_document_keeps_the_contract(text: str, concurrency: int) -> None:
    judge(typed_document(offer(text, concurrency=concurrency)))


def test_the_contract_would_refuse_a_document_that_breaks_it() -> None:
    document = typed_document(offer(FULL))
    for change in ({"object": "model"}, {"input_modalities": []}, {"quantization": "fp7"}):
        with pytest.raises(jsonschema.ValidationError):
            judge(document | change)
    document["input_modalities"][0]["pricing"][0]["cost_usd"] = "2e-07"
    with pytest.raises(jsonschema.ValidationError):
        judge(document)


def test_prices_are_exact_and_never_in_exponents() -> None:
    spare, full = typed_document(offer(SPARE)), typed_document(offer(FULL))
    assert spare["input_modalities"][0]["pricing"] == [
        {"type": "prompt", "unit": "token", "cost_usd": "0.000000001"}
    ]
    assert spare["output_modalities"][0]["pricing"][0]["cost_usd"] == "0.001"
    prompt, night, cached, cached_night = full["input_modalities"][0]["pricing"]
    assert prompt["cost_usd"] == "0.0000002"
    assert night == prompt | {"cost_usd": "0.0000001", "utc_start": 2200, "utc_end": 0}
    assert cached["implicit"]
    assert cached["cost_usd"] == "0.00000005"
    assert cached_night["utc_start"] == 2200
    assert full["pricing"] == [{"type": "request", "unit": "request", "cost_usd": "0.00001"}]


def test_a_drained_model_is_not_ready_and_one_without_nodes_tells_no_capacity() -> None:
    document = typed_document(offer(SPARE, concurrency=0, ready=False))
    assert document["is_ready"] is False
    assert "capacity" not in document
    assert typed_document(offer(SPARE))["capacity"][0]["value"] == 64


def test_the_flat_document() -> None:
    document = flat_document(offer(FULL))
    assert document["pricing"] == {
        "prompt": "0.0000002",
        "completion": "0.0000006",
        "image": "0",
        "request": "0.00001",
        "input_cache_read": "0.00000005",
    }
    assert document["context_length"] == 131072
    assert document["max_output_length"] == 8192
    assert document["input_modalities"] == ["text", "image"]
    assert set(document["supported_features"]) >= {"tools", "reasoning"}
    assert document["datacenters"] == [
        {"country_code": "DE", "region": "eu-central"},
        {"country_code": "US"},
    ]
