"""Token counts out of a stream of server-sent events, and the bytes the client may see. Sans-IO.

vLLM is asked for running usage: every event then carries `"usage":{...}` for its own choice, and a
closing event without choices carries the total. The meter keeps the last figure of every choice, so
that a stream cut at any byte is billed to the token; the closing total overrides. What the client
did not ask for is cut out of the bytes again.

The cut looks for bytes instead of decoding JSON, because it runs on every event. That is exact:
inside a JSON string a quote is always escaped, so `,"usage":{` can only be a key of the event. An
event in another shape (spaces after colons, usage first) takes the general path through a decoder.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from metering.usage import Usage

EVENT_BYTES_MAX = 1024 * 1024
"""An event longer than this is no event: the stream is refused as garbage."""

TOKENS_MAX = 2**32
"""A count beyond this is a lie, and would not fit the ledger's integers once it is priced."""

_CARRIAGE_RETURN = 13
_DONE = b"data: [DONE]"
_RUNNING = b',"usage":{'
_ANY_USAGE = b'"usage"'
_NO_CHOICES = b'"choices":[]'
_ERROR = b'"error"'
_CACHE_WRITTEN = b'"created_cache_tokens":'


class MalformedStreamError(ValueError):
    """The node sent something that is not a stream of JSON events."""

    passed = b""
    """What was before it in the bytes that it came with, counted and cut."""


_Tokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Tokens | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Tokens | None = None


class _WireUsage(msgspec.Struct):
    """vLLM has None for completion tokens of what completes nothing; SGLang tells reasoning tokens
    beside the completion's instead of in their details.
    """

    prompt_tokens: _Tokens
    completion_tokens: _Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    reasoning_tokens: _Tokens | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _WireUsage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None


class _WholeChoice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_WholeChoice] = []
    usage: _WireUsage | None = None


_usage_decoder = msgspec.json.Decoder(_WireUsage)
_event_decoder = msgspec.json.Decoder(_Event)
_answer_decoder = msgspec.json.Decoder(_Answer)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that are no JSON, no UTF-8, or nested without end."""


def usage_of_answer(body: bytes) -> Usage | None:
    """The usage of a whole JSON answer, None if it has none. Raises MalformedStreamError."""
    try:
        usage = _answer_decoder.decode(body).usage
    except UNREADABLE as error:
        raise MalformedStreamError(
            f"the answer is not a JSON object with sane usage: {error}"
        ) from None
    return None if usage is None else _to_usage(usage)


def text_of_answer(body: bytes) -> str:
    """The generated text of a whole JSON answer that `usage_of_answer` accepted."""
    parts: list[str | None] = []
    for choice in _answer_decoder.decode(body).choices:
        message = choice.message or _Message()
        parts += [choice.text, message.reasoning, message.content]
    return "".join(part for part in parts if part)


def in_openais_words(answer: bytes) -> bytes:
    """vLLM's name for tokens written to a cache, told as OpenAI's; null is left out."""
    if answer.find(_CACHE_WRITTEN) < 0:
        return answer
    answer = answer.replace(b"," + _CACHE_WRITTEN + b"null", b"")
    return answer.replace(_CACHE_WRITTEN, b'"cache_write_tokens":')


class StreamMeter:
    """Feed it the body of an event stream; it returns what the client may see, whole events only.

    `keep_closing`: the client asked for usage, so the closing event passes. One that does not is
    kept in `closing_event`.
    `keep_running`: it asked for running usage too, so nothing is cut.
    `choices`: how many answers were asked for; with one, no event needs its index read. With
    several prompts, choices come in runs of `choices_per_prompt`, and each tells its own prompt's
    tokens.
    `tally_text`: the node reports no running usage, so delivered text is kept for an estimate. What
    usage such a node tells beside a choice is its total: some tell it with the last of them.
    """

    __slots__ = (
        "_choices",
        "_choices_per_prompt",
        "_decodes_all",
        "_keep_closing",
        "_keep_running",
        "_running",
        "_tail",
        "_tally_text",
        "closing",
        "closing_event",
        "done",
        "ended",
        "error",
        "events",
        "failed",
        "finished_choices",
        "text",
    )

    def __init__(
        self,
        *,
        keep_closing: bool,
        keep_running: bool = False,
        choices: int = 1,
        choices_per_prompt: int = 1,
        tally_text: bool = False,
    ) -> None:
        self._keep_closing = keep_closing
        self._keep_running = keep_running
        self._choices = choices
        self._choices_per_prompt = choices_per_prompt
        self._tally_text = tally_text
        self._decodes_all = tally_text or choices > 1
        self._tail = b""
        self._running: dict[int, bytes] = {}
        self.closing: Usage | None = None
        """The node's total from the closing event; None until it came."""
        self.closing_event = b""
        """The data of a closing event that was not passed on."""
        self.ended = False
        """Nothing more is taken: the stream is whole, or it told an error."""
        self.done = False
        """`[DONE]` was seen: the stream is whole."""
        self.error: bytes | None = None
        """The error object of an event that reported one; it was not passed on."""
        self.events = 0
        """Events passed on to the client."""
        self.failed = False
        """A choice finished with an error."""
        self.finished_choices = 0
        self.text: list[str] = []

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return the bytes of the events they completed, cut.

        `[DONE]` and what follows it are kept back: the caller sends that line itself once the
        charge is durable. Raises MalformedStreamError.
        """
        if self.ended:
            return b""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        if _CARRIAGE_RETURN in data:
            data = data.replace(b"\r\n", b"\n")
        if 0 <= data.find(b"\n\n") == len(data) - 2:
            return self._event(data)
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            return self._keep(data)
        self._tail = data[end:]
        events = data[: end - 2].split(b"\n\n")
        passed: list[bytes] = []
        try:
            for event in events:
                if event:
                    passed.append(self._event(event + b"\n\n"))
        except MalformedStreamError as error:
            error.passed = b"".join(passed)
            raise
        return b"".join(passed)

    @property
    def running(self) -> Usage | None:
        """The sum over choices of the last running figures; None if no event carried any. One that
        makes no sense counts nothing: the events with it are gone to the client already.
        """
        usages: dict[int, Usage] = {}
        for index, figure in self._running.items():
            try:
                usages[index] = _to_usage(_usage_decoder.decode(figure))
            except UNREADABLE:
                continue
        if len(usages) < 2:
            return next(iter(usages.values()), None)
        prompts = {index // self._choices_per_prompt: usage for index, usage in usages.items()}
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in prompts.values()),
            cached_tokens=sum(usage.cached_tokens for usage in prompts.values()),
            completion_tokens=sum(usage.completion_tokens for usage in usages.values()),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in usages.values()),
        )

    def _keep(self, data: bytes) -> bytes:
        if len(data) > EVENT_BYTES_MAX:
            raise MalformedStreamError(f"an event is longer than {EVENT_BYTES_MAX} bytes")
        self._tail = data
        return b""

    def _event(self, event: bytes) -> bytes:
        start = event.find(_RUNNING)
        if start < 0 or self.ended:
            return self._unusual(event)
        end = event.find(b"}", start) + 1
        inner = event.find(b"{", start + 10, end)
        if inner >= 0:
            end = _end_around(event, inner, end)
        if self._decodes_all or not end or event.find(_NO_CHOICES) >= 0:
            return self._decoded(event)
        self._running[0] = event[start + 9 : end]
        self.events += 1
        return event if self._keep_running else event[:start] + event[end:]

    def _unusual(self, event: bytes) -> bytes:
        """An event without running usage in vLLM's shape: the end, a comment, an error, another
        server's, or one behind the end.
        """
        event = event.lstrip(b"\n")
        if self.ended or not event:
            return b""
        if event.startswith(_DONE):
            self.done = self.ended = True
            return b""
        if event.startswith(b":"):
            return event
        if self._tally_text or event.find(_ANY_USAGE) >= 0 or event.find(_ERROR) >= 0:
            return self._decoded(event)
        self.events += 1
        return event

    def _decoded(self, event: bytes) -> bytes:
        """The general path: decode the event, take its usage, encode it again without."""
        payload = _payload(event)
        try:
            read = _event_decoder.decode(payload)
        except UNREADABLE as error:
            raise _not_an_event(error) from None
        if bytes(read.error) != b"null":
            self.error = bytes(read.error)
            self.ended = True
            return b""
        for choice in read.choices or ():
            self._tally(choice)
        if read.usage is not None and not read.choices:
            self.closing = _to_usage(read.usage)
            if self._keep_closing:
                return event if self._keep_running else in_openais_words(event)
            self.closing_event = in_openais_words(payload)
            return b""
        if read.usage is not None and read.choices:
            index = read.choices[0].index
            if not 0 <= index < self._choices:
                raise MalformedStreamError(f"choice {index} of {self._choices}")
            self._running[index] = _encoder.encode(read.usage)
        self.events += 1
        told = self._keep_running or (self._keep_closing and self._tally_text)
        return event if told else _without_usage(payload)

    def _tally(self, choice: _Choice) -> None:
        if choice.finish_reason is not None:
            self.finished_choices += 1
            self.failed = self.failed or choice.finish_reason == "error"
        if self._tally_text:
            delta = choice.delta
            parts = (choice.text, delta and delta.content, delta and delta.reasoning)
            self.text.extend(part for part in parts if part)


def _end_around(event: bytes, inner: int, end: int) -> int:
    """The end of an object whose last field is an object from `inner` to `end`, as vLLM's running
    usage with reasoning tokens; 0 if it is of another shape.
    """
    whole = event[end : end + 1] == b"}" and event.find(b"{", inner + 1, end) < 0
    return end + 1 if whole else 0


def _payload(event: bytes) -> bytes:
    """The data of an event: its `data:` lines, joined as the HTML standard says."""
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


def _without_usage(payload: bytes) -> bytes:
    try:
        fields = _fields_decoder.decode(payload)
    except UNREADABLE as error:
        raise _not_an_event(error) from None
    fields.pop("usage", None)
    return b"data: " + _encoder.encode(fields) + b"\n\n"


def _not_an_event(error: Exception) -> MalformedStreamError:
    return MalformedStreamError(f"an event is not a JSON object with sane usage: {error}")


def _to_usage(wire: _WireUsage) -> Usage:
    """A part that a node reports as larger than its whole is taken for the whole."""
    prompt, completion = wire.prompt_tokens_details, wire.completion_tokens_details
    cached = (prompt.cached_tokens if prompt else None) or 0
    reasoning = completion.reasoning_tokens if completion else None
    if reasoning is None:
        reasoning = wire.reasoning_tokens or 0
    prompt_tokens, completion_tokens = wire.prompt_tokens, wire.completion_tokens or 0
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=cached if cached < prompt_tokens else prompt_tokens,
        reasoning_tokens=reasoning if reasoning < completion_tokens else completion_tokens,
    )
