"""What a model's `[model.listing]` says for aggregators; what is left out is not told.

https://openrouter.ai/docs/use-cases/for-providers
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Quantization = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32"
]


class Feature(StrEnum):
    """What a model can do beyond text; the values are those of the older listing."""

    TOOLS = "tools"
    JSON_MODE = "json_mode"
    STRUCTURED_OUTPUTS = "structured_outputs"
    LOGPROBS = "logprobs"
    REASONING = "reasoning"


class Datacenter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    country_code: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    """ISO 3166-1 alpha-2."""
    region: str | None = None
    """Such as "us-east"."""


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = ""
    """For people; the model's id if not given."""
    hugging_face_id: str = ""
    """As OWNER/NAME."""
    slug: str = ""
    """OpenRouter's own name of the model."""
    tokenizer: str = ""
    """Its family, such as "Qwen"."""
    quantization: Quantization | None = None
    """Of the weights."""
    completion_tokens_max: Annotated[int, Meta(ge=1)] | None = None
    """Per choice; the context if not given."""
    features: tuple[Feature, ...] = ()
    """Beyond text."""
    images: bool = False
    """It takes pictures."""
    datacenters: tuple[Datacenter, ...] = ()
    """Where it is served."""
    zero_data_retention: bool = False
    """Neither prompts nor answers are kept, also not by the suppliers of the nodes."""
    deprecation_date: Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    """From when on it is no longer served, as 2027-01-31."""
    ready: bool = True
    """False hides it from aggregators' users, before its start and for a drain."""
    free: bool = False
    """Listed as costing nothing."""
