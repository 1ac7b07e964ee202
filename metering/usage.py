"""What a request used, in tokens, and how we know it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class UsageError(ValueError):
    """Counts that cannot be: negative, or a part larger than its whole."""


class Usage(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """Tokens of one request, all choices together. Raises UsageError on impossible counts.

    `cached_tokens` are those of the prompt that the node had in its prefix cache;
    `reasoning_tokens` are part of the completion.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.cached_tokens <= self.prompt_tokens:
            raise UsageError(f"{self.cached_tokens} cached of {self.prompt_tokens} prompt tokens")
        if not 0 <= self.reasoning_tokens <= self.completion_tokens:
            raise UsageError(
                f"{self.reasoning_tokens} reasoning of {self.completion_tokens} completion tokens"
            )


class UsageSource(StrEnum):
    """Where the counts of a charge come from. The ledger keeps it for ever."""

    NODE = "node"
    """The node's own total, from the end of its answer."""
    COUNTED = "counted"
    """The running figures of the events delivered until the stream was cut."""
    ESTIMATED = "estimated"
    """Our tokenizer over the delivered text: the node told nothing."""
