"""A chat stream told in the events of OpenAI's Responses API. Pure.

    response.created  response.queued?  response.in_progress
    ( output_item.added  content_part.added  (output_text | reasoning_text).delta* .done
      content_part.done  output_item.done  |
      output_item.added  function_call_arguments.delta* .done  output_item.done )*
    response.completed | .incomplete | .failed

Reasoning and text are open until something else comes; tool calls, whose parts may come in any
order, until the end. The last event is kept back until the caller has put the response away.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.openai.events import COMMENT, EventReader
from gateway.responses.answer import failed, finished, logprobs_of, whole
from gateway.responses.items import ItemIds, Json

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

_PARTS = {"message": "output_text", "reasoning": "reasoning_text"}


class ResponseStream:
    def __init__(self, response: Json, ids: ItemIds) -> None:
        """`response` as it was begun."""
        self.response = response
        self._ids = ids
        self._reader = EventReader()
        self._sequence = 0
        self._output: list[Json] = []
        self._text: _OpenText | None = None
        self._calls: dict[int, _Open] = {}
        self._reason: str | None = None
        self._usage: Json | None = None
        self._error: Json | None = None

    def begin(self) -> bytes:
        told = self._event("response.created", response=self.response)
        if self.response["status"] == "queued":
            told += self._event("response.queued", response=self.response)
            self.response = self.response | {"status": "in_progress"}
        return told + self._event("response.in_progress", response=self.response)

    def feed(self, data: bytes) -> bytes:
        """These bytes of the chat stream, in events."""
        return b"".join(self._told(event) for event in self._reader.feed(data))

    def take(self, completion: Json) -> None:
        """An answer that was not streamed."""
        self._usage = completion.get("usage")
        (choice,) = completion["choices"]
        message = choice["message"]
        calls = enumerate(message.get("tool_calls") or [])
        told = [{"index": index, **call} for index, call in calls]
        self._choice(choice | {"delta": message | {"tool_calls": told}})

    def fail(self, message: str, code: str | None = None) -> bytes:
        """It came to nothing, or to no more."""
        self._error = {"message": message, "code": code}
        return self._close_all()

    def end(self, now_s: int) -> bytes:
        """All that came is all there is: `response` is final then."""
        told = self._close_all()
        if self._error is None:
            self.response = finished(
                self.response, self._output, self._reason, self._usage, now_s=now_s
            )
        else:
            message, code = self._error["message"], self._error["code"]
            self.response = failed(self.response, message, code=code, output=self._output)
        return told

    def last(self) -> bytes:
        """The event of the response as it is now, at its end."""
        return self._event(f"response.{self.response['status']}", response=self.response)

    def _told(self, data: bytes) -> bytes:
        if not data:
            return COMMENT
        if data == b"[DONE]":
            return self._close_all()
        chunk = _decode(data)
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        error = chunk.get("error")
        if error is not None:
            code = (error.get("metadata") or {}).get("error_type")
            return self.fail(error["message"], code)
        return b"".join(self._choice(choice) for choice in chunk.get("choices") or [])

    def _choice(self, choice: Json) -> bytes:
        delta = choice.get("delta") or {}
        told = b""
        if reasoning := delta.get("reasoning") or delta.get("reasoning_content"):
            told += self._add_text("reasoning", reasoning, [])
        if text := delta.get("content"):
            told += self._add_text("message", text, logprobs_of(choice))
        for call in delta.get("tool_calls") or []:
            told += self._add_call(call)
        self._reason = choice.get("finish_reason") or self._reason
        return told

    def _add_text(self, kind: str, text: str, logprobs: list[Json]) -> bytes:
        told = b""
        if self._text is None or self._text.item["type"] != kind:
            told = self._close_text(cut=False) + self._open_text(kind)
        assert self._text is not None
        self._text.texts.append(text)
        fields: Json = {"delta": text}
        if kind == "message":
            self._text.logprobs += logprobs
            fields["logprobs"] = logprobs
        return told + self._part_event(f"response.{_PARTS[kind]}.delta", self._text, fields)

    def _open_text(self, kind: str) -> bytes:
        own: Json = {"role": "assistant"} if kind == "message" else {"summary": []}
        own |= {"content": [], "status": "in_progress"}
        self._text = _OpenText(*self._new_item(kind, own))
        part = {"part": self._text.part()}
        told = self._item_event("response.output_item.added", self._text)
        return told + self._part_event("response.content_part.added", self._text, part)

    def _close_text(self, *, cut: bool) -> bytes:
        open_ = self._text
        if open_ is None:
            return b""
        self._text = None
        kind = open_.item["type"]
        part = open_.part("".join(open_.texts))
        done: Json = {"text": part["text"]}
        if kind == "message":
            done["logprobs"] = open_.logprobs
        told = self._part_event(f"response.{_PARTS[kind]}.done", open_, done)
        told += self._part_event("response.content_part.done", open_, {"part": part})
        open_.item = self._output[open_.index] = whole(open_.item | {"content": [part]}, cut=cut)
        return told + self._item_event("response.output_item.done", open_)

    def _add_call(self, call: Json) -> bytes:
        function = call.get("function") or {}
        told, number = b"", call.get("index") or 0
        open_ = self._calls.get(number)
        if open_ is None:
            told += self._close_text(cut=False)
            own: Json = {"name": function.get("name") or "", "arguments": "", "call_id": ""}
            open_ = _Open(*self._new_item("function_call", own | {"status": "in_progress"}))
            open_.item["call_id"] = call.get("id") or f"call_{open_.item['id']}"
            self._calls[number] = open_
            told += self._item_event("response.output_item.added", open_)
        if arguments := function.get("arguments"):
            open_.texts.append(arguments)
            fields = {"item_id": open_.item["id"], "output_index": open_.index}
            kind = "response.function_call_arguments.delta"
            told += self._event(kind, **fields, delta=arguments)
        return told

    def _close_calls(self, *, cut: bool) -> bytes:
        told, calls = b"", list(self._calls.values())
        self._calls = {}
        for open_ in calls:
            arguments = "".join(open_.texts)
            told += self._event(
                "response.function_call_arguments.done",
                item_id=open_.item["id"],
                output_index=open_.index,
                name=open_.item["name"],
                arguments=arguments,
            )
            unfinished = cut and open_ is calls[-1]
            open_.item = whole(open_.item | {"arguments": arguments}, cut=unfinished)
            self._output[open_.index] = open_.item
            told += self._item_event("response.output_item.done", open_)
        return told

    def _close_all(self) -> bytes:
        cut = self._error is not None or self._reason == "length"
        return self._close_text(cut=cut) + self._close_calls(cut=cut)

    def _new_item(self, kind: str, own: Json) -> tuple[Json, int]:
        index = len(self._output)
        item = {"id": self._ids.output(kind, index), "type": kind, **own}
        self._output.append(item)
        return item, index

    def _item_event(self, kind: str, open_: _Open) -> bytes:
        return self._event(kind, output_index=open_.index, item=open_.item)

    def _part_event(self, kind: str, open_: _OpenText, fields: Json) -> bytes:
        place = {"item_id": open_.item["id"], "output_index": open_.index, "content_index": 0}
        return self._event(kind, **place, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        told = event(kind, self._sequence, fields)
        self._sequence += 1
        return told


class _Open:
    """An output item that is still being made."""

    def __init__(self, item: Json, index: int) -> None:
        self.item = item
        self.index = index
        self.texts: list[str] = []


class _OpenText(_Open):
    """Reasoning or a message, of one part."""

    def __init__(self, item: Json, index: int) -> None:
        super().__init__(item, index)
        self.logprobs: list[Json] = []

    def part(self, text: str = "") -> Json:
        kind = self.item["type"]
        told: Json = {"type": _PARTS[kind], "text": text}
        if kind == "message":
            told |= {"annotations": [], "logprobs": self.logprobs}
        return told


def event(kind: str, sequence: int, fields: Json) -> bytes:
    body = _encode({"type": kind, "sequence_number": sequence, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)


def error_event(sequence: int, message: str, code: str) -> bytes:
    return event("error", sequence, {"code": code, "message": message, "param": None})
