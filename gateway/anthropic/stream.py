"""A chat stream told in the events of Anthropic's Messages API. Pure.

    message_start  ( content_block_start  content_block_delta*  content_block_stop )*
    message_delta  message_stop

A block is open until something of another kind comes: reasoning, text, or another tool call.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.anthropic.chat import Json, stop, usage
from gateway.openai.events import COMMENT, EventReader

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class MessageStream:
    def __init__(self, message_id: str, model: str) -> None:
        self._message_id = message_id
        self._model = model
        self._reader = EventReader()
        self._begun = False
        self._open: object = None
        """What the open block is: "thinking", "text" or a tool call's index; None if none is."""
        self._blocks = 0
        self._end: Json = {"stop_reason": "end_turn", "stop_sequence": None}
        self._usage: Json = usage({})

    def feed(self, data: bytes) -> bytes:
        """These bytes of the chat stream, in Anthropic's events."""
        return b"".join(self._told(event) for event in self._reader.feed(data))

    def _told(self, data: bytes) -> bytes:
        if not data:
            return COMMENT
        if data == b"[DONE]":
            return self._finished()
        chunk = _decode(data)
        if chunk.get("usage"):
            self._usage = usage(chunk["usage"])
        error = chunk.get("error")
        if error is not None:
            failure = {"type": "api_error", "message": error["message"]}
            return _event("error", {"error": failure})
        told = b"" if self._begun else self._start()
        for choice in chunk.get("choices") or []:
            told += self._delta(choice.get("delta") or {})
            if choice.get("finish_reason"):
                self._end = stop(choice)
        return told

    def _start(self) -> bytes:
        self._begun = True
        message: Json = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage,
        }
        return _event("message_start", {"message": message})

    def _delta(self, delta: Json) -> bytes:
        told = b""
        if reasoning := delta.get("reasoning") or delta.get("reasoning_content"):
            told += self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            told += self._part({"type": "thinking_delta", "thinking": reasoning})
        if text := delta.get("content"):
            told += self._block("text", {"type": "text", "text": ""})
            told += self._part({"type": "text_delta", "text": text})
        for call in delta.get("tool_calls") or []:
            function = call.get("function") or {}
            if call["index"] != self._open:
                begun = {"id": call["id"], "name": function["name"], "input": {}}
                told += self._block(call["index"], {"type": "tool_use", **begun})
            if arguments := function.get("arguments"):
                told += self._part({"type": "input_json_delta", "partial_json": arguments})
        return told

    def _block(self, kind: object, content: Json) -> bytes:
        """Open a block of this kind, unless it is the one that is open."""
        if self._open == kind:
            return b""
        told = self._closed()
        self._open = kind
        self._blocks += 1
        begun = {"index": self._blocks - 1, "content_block": content}
        return told + _event("content_block_start", begun)

    def _part(self, delta: Json) -> bytes:
        return _event("content_block_delta", {"index": self._blocks - 1, "delta": delta})

    def _closed(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event("content_block_stop", {"index": self._blocks - 1})

    def _finished(self) -> bytes:
        told = b"" if self._begun else self._start()
        told += self._closed()
        told += _event("message_delta", {"delta": self._end, "usage": self._usage})
        return told + _event("message_stop", {})


def _event(type: str, fields: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), _encode({"type": type, **fields}))
