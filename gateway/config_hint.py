"""What somebody may have meant by a configuration's key that there is none of. Pure."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator

import msgspec

_UNKNOWN = re.compile(r"unknown field `([^`]+)`(?: - at `\$([^`]*)`)?")


def hint(message: str, root: type[msgspec.Struct]) -> str:
    """To be put behind msgspec's message of an unknown field; empty if there is nothing to say."""
    match = _UNKNOWN.search(message)
    if match is None:
        return ""
    name, section = match[1], _section(match[2] or "")
    sections = dict(_sections(root, ""))
    here = sections.get(section)
    if here is not None and (close := difflib.get_close_matches(name, _names(here), 1)):
        return f"; did you mean {close[0]}?"
    elsewhere = [where for where, each in sections.items() if where and name in _names(each)]
    if len(elsewhere) == 1:
        return f"; it belongs under [{elsewhere[0]}]"
    return ""


def _section(path: str) -> str:
    """`.node[0].door` as people write it: `node.door`."""
    return re.sub(r"\[[^]]*\]", "", path).strip(".")


def _sections(of: type[msgspec.Struct], path: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield path, of
    for field in msgspec.structs.fields(of):
        for inner in _structs(field.type):
            yield from _sections(inner, f"{path}.{field.encode_name}".strip("."))


def _structs(kind: object) -> Iterator[type[msgspec.Struct]]:
    """Those in a type: itself, or what it is a list or a choice of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for argument in typing.get_args(kind):
        yield from _structs(argument)


def _names(of: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(of)]
