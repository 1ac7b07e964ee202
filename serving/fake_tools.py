"""The tool call that the fake node answers a chat with: arguments that fit the tool's schema."""

import json
from typing import Any
from zlib import crc32

import msgspec

from serving.simulated_engine import VOCABULARY, Choice, Token

PIECE_CHARS = 4
"""Of the arguments, in a token."""
DEPTH_MAX = 8

Json = dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    name: str
    arguments: str
    named: bool
    """The request named the tool: such an answer finishes with "stop"."""

    def choice(self, tokens_max: int) -> Choice:
        """The call as a model writes it; cut if it is longer than it may be."""
        text = self.arguments
        pieces = [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)]
        tokens = [
            Token(crc32(piece.encode()) % VOCABULARY, piece)
            for piece in pieces[:tokens_max] or [""]
        ]
        finish = "stop" if self.named else "tool_calls"
        return Choice(tuple(tokens), finish if len(tokens) >= len(pieces) else "length")


def call_for(request: Json) -> ToolCall | None:
    """The call of a tool that was asked for, else of the first; none if there are no tools, or the
    chat is at what a tool answered.
    """
    tools, wanted = request.get("tools") or [], request.get("tool_choice")
    if not tools or wanted == "none" or request["messages"][-1].get("role") == "tool":
        return None
    functions = {tool["function"]["name"]: tool["function"] for tool in tools}
    name = wanted["function"]["name"] if isinstance(wanted, dict) else next(iter(functions))
    schema = functions[name].get("parameters") or {}
    arguments = json.dumps(_example(schema, schema), ensure_ascii=False)
    return ToolCall(name, arguments, isinstance(wanted, dict))


def _example(schema: Json, root: Json, depth: int = 0) -> Any:
    """A value that is valid against plain schemas, such as SDKs make of functions."""
    if "$ref" in schema and depth < DEPTH_MAX:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _example(found, root, depth + 1)
    for field in ("anyOf", "oneOf", "allOf"):
        if schema.get(field):
            return _example(schema[field][0], root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_kind(kind: str, schema: Json, root: Json, depth: int) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {name: _example(each, root, depth + 1) for name, each in properties.items()}
        case "array":
            least = max(1, schema.get("minItems", 1))
            return [_example(schema.get("items") or {}, root, depth + 1)] * least
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return "Zürich".ljust(schema.get("minLength", 0), "!")[: schema.get("maxLength")]
