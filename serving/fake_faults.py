"""The ways in which a fake node can fail."""

from enum import StrEnum

import msgspec

from serving.fake_tools import ToolCall


class Split(StrEnum):
    """Where the bytes of an answer are cut into separate writes."""

    NOWHERE = "nowhere"
    """One write for the head and one for each event."""
    EVERY_BYTE = "every_byte"
    AT_RANDOM = "at_random"
    """Also inside a UTF-8 character and inside a chunk's length."""
    GLUED = "glued"
    """All in one write at the end."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with the requests that come next. All defaults: nothing.

    Events are counted as sent, a chat's opening ones and the closing one with the usage included;
    `[DONE]` is not counted. A count beyond the end of the answer does nothing.
    """

    requests: int | None = None
    """How many requests for inference it hits before the node is well again; None: all."""
    every: int = 1
    """It hits only each so-manieth of them."""
    refuse_connections: bool = False
    """Nobody listens on the port; open connections stay."""
    garbage: bool = False
    """Answer with bytes that are not HTTP."""
    interim: bool = False
    """Send an interim answer (103) before the head."""
    head_delay_ms: float = 0.0
    reset_before_head: bool = False
    status: int | None = None
    """Answer with this error, in vLLM's form."""
    body_bytes: int = 0
    """Make the text of the answer at least this long, in one event if it is streamed."""
    reset_after_events: int | None = None
    end_after_events: int | None = None
    """Close the connection in order, in the middle of the chunked body."""
    stall_after_events: int | None = None
    """Send nothing more and keep the connection."""
    error_after_events: int | None = None
    """Send an error event, then `[DONE]`, as vLLM does when its engine fails in a stream."""
    omit_usage: bool = False
    """Leave out the usage of the end: the closing event, or the field of a whole answer."""
    omit_running_usage: bool = False
    """Leave it out of all other events, as an engine does that never heard of
    `continuous_usage_stats`."""
    inflate_usage_percent: int = 0
    """Report so many percent more completion tokens than were generated, rounded up."""
    inflate_prompt_percent: int = 0
    """Report so many percent more prompt tokens than there were, rounded up."""
    claim_prompt_tokens: int | None = None
    """Report so many prompt tokens, whatever the prompt."""
    other_model: bool = False
    """Answer as another model would."""
    logprob_shift: float = 0.0
    """Tell logprobs that are so much lower, as a quantised model's may be."""
    tool_name: str | None = None
    """Call a tool of this name, whatever tools there are."""
    tool_arguments: str | None = None
    """Call a tool with these arguments."""
    split: Split = Split.NOWHERE
    close_after_answer: bool = False
    """Close the kept-alive connection once the answer is whole, without having said so."""

    def call(self, call: ToolCall | None) -> ToolCall | None:
        """The tool call that the node makes in place of this one."""
        if call is None:
            return None
        arguments = call.arguments if self.tool_arguments is None else self.tool_arguments
        return ToolCall(self.tool_name or call.name, arguments, call.named)

    def reported(self, tokens: int) -> int:
        """Return the completion tokens that the node claims."""
        return tokens - (-tokens * self.inflate_usage_percent // 100)

    def reported_prompt(self, tokens: int) -> int:
        """Return the prompt tokens that the node claims."""
        if self.claim_prompt_tokens is not None:
            return self.claim_prompt_tokens
        return tokens - (-tokens * self.inflate_prompt_percent // 100)


NO_FAULT = Fault()
