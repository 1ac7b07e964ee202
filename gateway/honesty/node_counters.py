"""A node's own counters, read from its `/metrics`: what vLLM says that it did. Blocks."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from prometheus_client.parser import text_string_to_metric_families

from gateway.nodes.door import Door
from router.types import NodeRecord

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024

_PROMPT, _COMPLETION = "vllm:prompt_tokens", "vllm:generation_tokens"


_Kept = Annotated[int, Meta(ge=0, le=2**62)]
"""As a database keeps it: a node may say any number."""


class CountersUnreadError(Exception):
    """The node did not answer, or told no counters; the message says which."""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """Since the node's start, over all its engines."""

    prompt_tokens: _Kept
    completion_tokens: _Kept
    epoch: _Kept
    """When they began, in ns of the node's clock; 0 if it does not say."""


class NodeCounters:
    """By node id: `authorization` has bearer keys, `tls` what certificates to trust."""

    def __init__(self, authorization: Mapping[str, str], tls: Mapping[str, ssl.SSLContext]) -> None:
        self._authorization = authorization
        self._tls = tls

    def read(self, node: NodeRecord) -> Counters:
        """Raises CountersUnreadError."""
        if node.engine != "vllm":
            raise CountersUnreadError("it is no vLLM, and no other engine's counters are known")
        try:
            text = self._get(node)
        except (OSError, http.client.HTTPException, ValueError) as error:  # or a host that is none
            raise CountersUnreadError(f"GET {node.url}/metrics: {error}") from error
        return counters_in(text, node.served_model or node.model)

    def _get(self, node: NodeRecord) -> str:
        tls, key = self._tls.get(node.node_id), self._authorization.get(node.node_id)
        with contextlib.closing(Door(node.url, tls=tls, key=key, timeout_s=TIMEOUT_S)) as door:
            answer, body = door.get("/metrics", ANSWER_BYTES_MAX)
        if answer.status != 200:
            raise CountersUnreadError(f"GET {node.url}/metrics: answered {answer.status}")
        return body.decode("utf-8", "replace")


def counters_in(exposition: str, model: str) -> Counters:
    """The counters of a model in Prometheus's text. Raises CountersUnreadError if it has none."""
    lines = [line for line in exposition.splitlines() if line.startswith((_PROMPT, _COMPLETION))]
    totals: dict[str, float] = {}
    began_s = 0.0
    try:
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for sample in family.samples:
                if sample.labels.get("model_name", model) != model:
                    continue
                if sample.name in (f"{_PROMPT}_created", f"{_COMPLETION}_created"):
                    began_s = max(began_s, sample.value)
                elif sample.name in (f"{_PROMPT}_total", f"{_COMPLETION}_total"):
                    totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return msgspec.convert(
            {
                "prompt_tokens": int(totals[f"{_PROMPT}_total"]),
                "completion_tokens": int(totals[f"{_COMPLETION}_total"]),
                "epoch": int(began_s * 1e9),
            },
            Counters,
        )
    except (ValueError, OverflowError) as error:
        raise CountersUnreadError(f"its /metrics cannot be read: {error}") from error
    except KeyError as error:
        raise CountersUnreadError(
            f"its /metrics has no {error.args[0]} of model '{model}': was vLLM started with "
            "--disable-log-stats?"
        ) from error
