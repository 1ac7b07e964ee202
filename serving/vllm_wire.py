"""What vLLM 0.32 puts on the wire, key for key (held to its own answers in tests/golden)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from zlib import crc32

import msgspec

from serving.simulated_engine import Choice, SimulatedEngine, Token

FINGERPRINT = "vllm-0.32.0-84561897"
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.encode
_FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")

Json = dict[str, Any]


def event(message: Json) -> bytes:
    """Return one server-sent event."""
    return b"data: " + _encode(message) + b"\n\n"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a request; `cached` of the prompt's came from the prefix cache."""

    prompt: int
    completion: int
    cached: int = 0

    def running(self, *, chat: bool) -> Json:
        """Return the figure that each event carries: of one choice, without details."""
        usage = self._counts()
        return usage | {"completion_tokens_details": None} if chat else usage

    def closing(self, *, chat: bool) -> Json:
        """Return the total that a stream's last event carries."""
        details: Json = {"cached_tokens": self.cached}
        if chat:
            details["created_cache_tokens"] = 0
        return self._counts() | {"prompt_tokens_details": details}

    def whole(self, *, chat: bool) -> Json:
        """Return the usage of an answer that is not streamed."""
        details = {
            "cached_tokens": self.cached,
            "created_cache_tokens": 0 if chat else None,
            "multimodal_tokens": None,
        }
        return self._counts() | {
            "prompt_tokens_details": details,
            "completion_tokens_details": None,
        }

    def _counts(self) -> Json:
        return {
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.completion,
            "completion_tokens": self.completion,
        }


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What all parts of one answer have in common."""

    id: str
    created: int
    model: str
    chat: bool
    show_token_ids: bool = False
    closes_with_usage: bool = False
    tool: str | None = None
    """A chat is a call of this tool, its text the arguments."""

    def opening(self, index: int, prompt: list[int], usage: Json | None) -> Json:
        """Return the first event of a choice of a chat: its role, no text."""
        choice = {
            "index": index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        message = self._event([choice], usage)
        message["prompt_token_ids"] = prompt if self.show_token_ids else None
        return message | {"prompt_text": None}

    def part(
        self,
        index: int,
        text: str,
        ids: list[int],
        finished: Choice | None,
        usage: Json | None,
        prompt: list[int] | None = None,
    ) -> Json:
        """Return an event with text; `prompt` goes with the first of a completion."""
        finish_reason = finished and finished.finish_reason
        token_ids = ids if self.show_token_ids else None
        choice: Json = {"index": index}
        if self.chat:
            first = prompt is not None
            says = text or (first and self.tool)
            choice["delta"] = self._delta(text, first=first) if says else {}
            choice |= {"logprobs": None, "finish_reason": finish_reason}
            if finished:
                choice["stop_reason"] = finished.stop_reason
        else:
            choice |= {
                "text": text,
                "logprobs": None,
                "finish_reason": finish_reason,
                "stop_reason": finished and finished.stop_reason,
                "prompt_token_ids": prompt if self.show_token_ids else None,
            }
        choice["token_ids"] = token_ids
        message = self._event([choice], usage)
        if finished and not self.closes_with_usage:
            message["system_fingerprint"] = FINGERPRINT
        return message

    def _delta(self, text: str, *, first: bool) -> Json:
        if self.tool is None:
            return {"content": text}
        call: Json = {"index": 0, "function": {"arguments": text}}
        if first:
            call |= {"id": self._call_id, "type": "function"}
            call["function"] |= {"name": self.tool}
        return {"tool_calls": [call]}

    @property
    def _call_id(self) -> str:
        return f"chatcmpl-tool-{self.id}"

    def closing(self, usage: Json) -> Json:
        """Return the event before `[DONE]`, sent if usage was asked for."""
        return self._event([], usage) | {"system_fingerprint": FINGERPRINT}

    def whole(self, choices: list[Choice], prompts: list[list[int]], usage: Usage) -> Json:
        """Return an answer that is not streamed; the choices of one prompt follow each other."""
        each = len(choices) // len(prompts)
        shape = self._chat_choice if self.chat else self._completion_choice
        message: Json = {
            "id": self.id,
            "object": "chat.completion" if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [
                shape(index, choice, prompts[index // each]) for index, choice in enumerate(choices)
            ],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": usage.whole(chat=self.chat),
        }
        if self.chat:
            message |= {
                "prompt_logprobs": None,
                "prompt_token_ids": prompts[0] if self.show_token_ids else None,
                "prompt_text": None,
            }
        return message | {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}

    def _event(self, choices: list[Json], usage: Json | None) -> Json:
        message = {
            "id": self.id,
            "object": "chat.completion.chunk" if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        return message if usage is None else message | {"usage": usage}

    def _chat_choice(self, index: int, choice: Choice, prompt: list[int]) -> Json:
        message: Json = {
            "role": "assistant",
            "content": choice.text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
        }
        if self.tool is not None:
            function = {"name": self.tool, "arguments": choice.text}
            call = {"id": f"{self._call_id}-{index}", "type": "function", "function": function}
            message |= {"content": None, "tool_calls": [call]}
        message["reasoning"] = None
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": self._ids(choice),
            "routed_experts": None,
        }

    def _completion_choice(self, index: int, choice: Choice, prompt: list[int]) -> Json:
        return {
            "index": index,
            "text": choice.text,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": self._ids(choice),
            "prompt_logprobs": None,
            "prompt_token_ids": prompt if self.show_token_ids else None,
            "routed_experts": None,
        }

    def _ids(self, choice: Choice) -> list[int] | None:
        return [token.id for token in choice.tokens] if self.show_token_ids else None


def chat_logprobs(tokens: Sequence[Token], start: int, shift: float) -> Json:
    """Return the logprobs of an answer's tokens from the `start`-th on, `shift` lower than they
    are: of each, and of a token that was never likely.
    """
    content = []
    for place, token in enumerate(tokens, start):
        logprob = -(crc32(f"{place} {token.text}".encode()) % 1000) / 2000 - shift
        told = {"token": token.text, "logprob": logprob, "bytes": list(token.text.encode())}
        rare = {"token": "~", "logprob": logprob - 9.0, "bytes": [126]}
        content.append(told | {"top_logprobs": [told, rare]})
    return {"content": content}


def error(status: int, message: str, param: str | None = None, kind: str | None = None) -> Json:
    """Return vLLM's error object: `code` is the HTTP status, `type` one of its exceptions."""
    kinds = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}
    kind = kind or kinds.get(status) or HTTPStatus(status).phrase
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def models(model: str, created: int, context_tokens_max: int) -> Json:
    """Return the list of models: the one that is served."""
    permission = {
        "id": "modelperm-0000000000000000",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    card = {
        "id": model,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": model,
        "parent": None,
        "max_model_len": context_tokens_max,
        "permission": [permission],
    }
    return {"object": "list", "data": [card]}


def embeddings(answer: Answer, vectors: list[Any], prompt_tokens: int) -> Json:
    """Return the answer to an embeddings request."""
    usage = Usage(prompt=prompt_tokens, completion=0)
    return {
        "id": answer.id,
        "object": "list",
        "created": answer.created,
        "model": answer.model,
        "data": [
            {"index": index, "object": "embedding", "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": usage.whole(chat=True) | {"prompt_tokens_details": None},
    }


def reranking(
    answer: Answer, documents: list[str], scores: list[float], top_n: int, prompt_tokens: int
) -> Json:
    """Return the answer to a rerank request: the best first, `top_n` of them if that is not 0."""
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])
    return {
        "id": answer.id,
        "model": answer.model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
        "results": [
            {
                "index": index,
                "document": {"text": documents[index], "multi_modal": None},
                "relevance_score": scores[index],
            }
            for index in ranked[: top_n or len(ranked)]
        ],
    }


def scores(answer: Answer, values: list[float], prompt_tokens: int) -> Json:
    """Return the answer to a score request."""
    return {
        "id": answer.id,
        "object": "list",
        "created": answer.created,
        "model": answer.model,
        "data": [
            {"index": index, "object": "score", "score": value}
            for index, value in enumerate(values)
        ],
        "usage": Usage(prompt=prompt_tokens, completion=0).whole(chat=True)
        | {"prompt_tokens_details": None},
    }


def metrics(model: str, engine: SimulatedEngine) -> bytes:
    """Return the counters that a gateway or a test reads, in Prometheus' text form."""
    labels = f'engine="0",model_name="{model}"'
    figures: Mapping[str, float] = {
        "gauge num_requests_running": engine.running,
        "gauge num_requests_waiting": 0,
        "gauge kv_cache_usage_perc": 0,
        "counter prompt_tokens_total": engine.prompt_tokens,
        "counter prompt_tokens_cached_total": engine.cached_tokens,
        "counter prefix_cache_queries_total": engine.prompt_tokens,
        "counter prefix_cache_hits_total": engine.cached_tokens,
        "counter generation_tokens_total": engine.generation_tokens,
    }
    lines = []
    for figure, value in figures.items():
        kind, name = figure.split()
        lines += [f"# TYPE vllm:{name} {kind}", f"vllm:{name}{{{labels}}} {float(value)}"]
    lines.append("# TYPE vllm:request_success_total counter")
    for reason in _FINISH_REASONS:
        count = float(engine.finished[reason])
        lines.append(
            f'vllm:request_success_total{{engine="0",finished_reason="{reason}",'
            f'model_name="{model}"}} {count}'
        )
    return "\n".join([*lines, ""]).encode()
