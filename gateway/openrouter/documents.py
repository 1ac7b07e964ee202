"""Model documents for aggregators: OpenRouter's typed one (schema 2.4) and the flat one before it.

Prices are decimal strings of USD a token, exact. An off-peak window that holds on every day is told
as a price of its own; one of certain weekdays has no form there, so only the higher price is told.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config import ModelConfig
from gateway.openai.checks import STOP_MAX
from gateway.openai.request import Endpoint
from gateway.openrouter.listing import Feature, Listing
from metering.money import format_usd
from metering.off_peak import EVERY_DAY, OffPeakWindow
from metering.price_book import Tariff
from metering.prices import ModelPrice, Reduction, reduced

Json = dict[str, Any]

SCHEMA_VERSION = "2.4"

_UNKNOWN: Json = {"type": "unknown"}
_BOOLEAN: Json = {"type": "boolean"}
_SAMPLING: dict[str, Json] = {
    "temperature": {"type": "range", "min": 0, "max": 2},
    "top_p": {"type": "range", "min": 0, "max": 1},
    "top_k": {"type": "integer", "min": -1},
    "min_p": {"type": "range", "min": 0, "max": 1},
    "frequency_penalty": {"type": "range", "min": -2, "max": 2},
    "presence_penalty": {"type": "range", "min": -2, "max": 2},
    "repetition_penalty": {"type": "range", "min": 0},
    "seed": {"type": "integer"},
    "stop": {"type": "array", "items": _UNKNOWN, "max_items": STOP_MAX},
    "logit_bias": _UNKNOWN,
}
_OF_FEATURE: dict[Feature, dict[str, Json]] = {
    Feature.TOOLS: {
        "tools": _UNKNOWN,
        "tool_choice": _UNKNOWN,
        "parallel_tool_calls": _BOOLEAN,
    },
    Feature.JSON_MODE: {"response_format": _UNKNOWN},
    Feature.STRUCTURED_OUTPUTS: {"structured_outputs": _BOOLEAN, "response_format": _UNKNOWN},
    Feature.LOGPROBS: {"logprobs": _BOOLEAN, "top_logprobs": {"type": "integer", "max": 20}},
    Feature.REASONING: {
        "reasoning": _UNKNOWN,
        "include_reasoning": _BOOLEAN,
        "reasoning_effort": _UNKNOWN,
    },
}


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it is on sale at the moment."""

    config: ModelConfig
    tariff: Tariff
    concurrency: int
    """Requests that its nodes can take at once."""
    ready: bool

    @property
    def listing(self) -> Listing:
        return self.config.listing

    @property
    def completion_tokens_max(self) -> int:
        return self.listing.completion_tokens_max or self.config.context_tokens_max


def typed_document(offer: Offer) -> Json:
    """A `ModelDocumentV2`."""
    config, listing = offer.config, offer.listing
    document: Json = {
        "schema_version": SCHEMA_VERSION,
        "id": config.id,
        "name": listing.name or config.id,
        "created": config.created,
        "input_modalities": _inputs(offer),
        "output_modalities": [_output(offer)],
        "is_ready": offer.ready,
        "is_free": listing.free,
        "compliance": {"zdr": listing.zero_data_retention},
        "quantization": listing.quantization,
    }
    if offer.tariff.request_nano_usd:
        each = {"type": "request", "unit": "request"}
        document["pricing"] = [each | {"cost_usd": format_usd(offer.tariff.request_nano_usd)}]
    if offer.concurrency:
        each = {"type": "concurrency", "unit": "request"}
        document["capacity"] = [each | {"value": offer.concurrency}]
    if listing.slug:
        document["openrouter"] = {"slug": listing.slug}
    return document | _where_known(offer)


def _inputs(offer: Offer) -> list[Json]:
    context: Json = {"value": offer.config.context_tokens_max, "unit": "token"}
    pricing = _priced(offer.tariff, "prompt")
    if offer.tariff.cached_prompt_nano_usd != offer.tariff.prompt_nano_usd:
        pricing += [each | {"implicit": True} for each in _priced(offer.tariff, "cached_prompt")]
    text: Json = {
        "type": "text",
        "supported_inputs": {"max_context_length": context},
        "pricing": pricing,
    }
    if not offer.listing.images:
        return [text]
    sources = {"type": "enum", "values": ["url", "base64"]}
    return [text, {"type": "image", "supported_inputs": {"sources": sources}}]


def _output(offer: Offer) -> Json:
    if Endpoint.CHAT not in offer.config.kinds and Endpoint.COMPLETIONS not in offer.config.kinds:
        return {"type": "embeddings", "supported_parameters": {}}
    return {
        "type": "text",
        "max_length": {"value": offer.completion_tokens_max, "unit": "token"},
        "supported_parameters": _parameters(offer),
        "streaming": True,
        "pricing": _priced(offer.tariff, "completion"),
    }


def _parameters(offer: Offer) -> dict[str, Json]:
    longest = {"type": "integer", "min": 1, "max": offer.completion_tokens_max, "unit": "token"}
    parameters = {"max_tokens": longest, **_SAMPLING}
    for feature in offer.listing.features:
        parameters |= _OF_FEATURE[feature]
    return parameters


def _priced(tariff: Tariff, kind: str) -> list[Json]:
    """A price entry, and one for each daily window in which it is lower."""
    entry: Json = {"type": kind, "unit": "token"}
    told = [entry | {"cost_usd": _per_token(tariff.list_price, kind)}]
    for window in tariff.off_peak:
        if window.days == EVERY_DAY:
            lower = reduced(tariff.list_price, Reduction.OFF_PEAK, window.discount_ppm)
            told.append(entry | {"cost_usd": _per_token(lower, kind)} | _hours(window))
    return told


def _per_token(price: ModelPrice, kind: str) -> str:
    return format_usd(getattr(price, f"{kind}_nano_usd"))


def _hours(window: OffPeakWindow) -> Json:
    start, end = (int(time.replace(":", "")) for time in (window.utc_from, window.utc_until))
    return {"utc_start": start, "utc_end": end % 2400}


def flat_document(offer: Offer) -> Json:
    """The form before 2.4, which other aggregators took over."""
    config, listing, tariff = offer.config, offer.listing, offer.tariff
    document: Json = {
        "id": config.id,
        "hugging_face_id": listing.hugging_face_id,
        "name": listing.name or config.id,
        "created": config.created,
        "input_modalities": ["text", "image"] if listing.images else ["text"],
        "output_modalities": [_output(offer)["type"]],
        "quantization": listing.quantization,
        "context_length": config.context_tokens_max,
        "max_output_length": offer.completion_tokens_max,
        "pricing": {
            "prompt": format_usd(tariff.prompt_nano_usd),
            "completion": format_usd(tariff.completion_nano_usd),
            "image": "0",
            "request": format_usd(tariff.request_nano_usd),
            "input_cache_read": format_usd(tariff.cached_prompt_nano_usd),
        },
        "supported_sampling_parameters": [*_SAMPLING, "max_tokens"],
        "supported_features": [feature.value for feature in listing.features],
        "is_ready": offer.ready,
        "is_free": listing.free,
    }
    if listing.slug:
        document["openrouter"] = {"slug": listing.slug}
    return document | _where_known(offer)


def _where_known(offer: Offer) -> Json:
    """What both forms tell alike, and only if there is something to tell."""
    listing = offer.listing
    told: Json = {
        "hugging_face_id": listing.hugging_face_id,
        "description": offer.config.description,
        "tokenizer": listing.tokenizer,
        "deprecation_date": listing.deprecation_date,
        "datacenters": [
            {name: value for name, value in msgspec.structs.asdict(each).items() if value}
            for each in listing.datacenters
        ],
    }
    return {name: value for name, value in told.items() if value}
