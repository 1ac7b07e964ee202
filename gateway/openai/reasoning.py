"""OpenRouter's `reasoning` told as vLLM's parameters. Pure.

effort: ...          reasoning_effort
enabled: false       reasoning_effort "none"
enabled: true        reasoning_effort "medium", unless more is said
max_tokens: N        thinking_token_budget
exclude: true        include_reasoning false: it is generated and charged, but not told
"""

from __future__ import annotations

from gateway import errors
from gateway.openai.schema import ChatRequest, Effort, Reasoning


def check_reasoning(reasoning: Reasoning, effort: Effort | None) -> None:
    """Raises ApiError (400) for what contradicts itself."""
    if reasoning.effort is not None and reasoning.max_tokens is not None:
        raise errors.bad_request(
            "Invalid 'reasoning': give 'effort' or 'max_tokens', not both.", param="reasoning"
        )
    if effort is not None and effort != _effort(reasoning, effort):
        raise errors.bad_request(
            "'reasoning' and 'reasoning_effort' say different things: give one of them.",
            param="reasoning_effort",
        )


def told_to_vllm(reasoning: Reasoning) -> dict[str, object]:
    """Parameters beside the client's own."""
    told: dict[str, object] = {}
    if (effort := _effort(reasoning, None)) is not None:
        told["reasoning_effort"] = effort
    if reasoning.max_tokens is not None:
        told["thinking_token_budget"] = reasoning.max_tokens
    if reasoning.exclude:
        told["include_reasoning"] = False
    return told


def hides_reasoning(request: ChatRequest) -> bool:
    """What the model thinks is not in the answer."""
    excluded = request.reasoning is not None and request.reasoning.exclude is True
    return excluded or not request.include_reasoning


def _effort(reasoning: Reasoning, default: Effort | None) -> Effort | None:
    if reasoning.enabled is False:
        return "none"
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.enabled and reasoning.max_tokens is None and default is None:
        return "medium"
    return default
