"""Which values a field of a record may have, to be told whoever gave another. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import msgspec.inspect
from msgspec.inspect import (
    DictType,
    EnumType,
    ListType,
    LiteralType,
    Metadata,
    StructType,
    Type,
    UnionType,
)

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(?:\d+|\.\.\.)?\]")


def allowed_values(record: object, where: str) -> list[str]:
    """Of the field at `where` (`messages[0].role`) in a value of the type `record`; empty if any
    value of some type will do.
    """
    places = list(_plain(_inspected(record)))
    for step in _STEP.finditer(where):
        name = step[1]
        tags = [tag for place in places for tag in _tags(place, name)]
        if tags:
            return tags
        places = [deeper for place in places for deeper in _inside(place, name)]
    return [value for place in places for value in _listed(place)]


@cache
def _inspected(record: object) -> Type:
    """Dear, so only for whoever is refused, and once."""
    return msgspec.inspect.type_info(record)


def _plain(place: Type) -> Iterator[Type]:
    """Without what is written about it; each of several."""
    if isinstance(place, Metadata):
        yield from _plain(place.type)
    elif isinstance(place, UnionType):
        for each in place.types:
            yield from _plain(each)
    else:
        yield place


def _inside(place: Type, name: str | None) -> Iterator[Type]:
    """What is one step further: in the field of this name, or in an entry."""
    if name is not None and isinstance(place, StructType):
        for field in place.fields:
            if field.encode_name == name:
                yield from _plain(field.type)
    elif name is None and isinstance(place, ListType):
        yield from _plain(place.item_type)
    elif name is None and isinstance(place, DictType):
        yield from _plain(place.value_type)


def _tags(place: Type, name: str | None) -> list[str]:
    """The one value by which a record says which of several it is."""
    if isinstance(place, StructType) and name is not None and place.tag_field == name:
        return [str(place.tag)]
    return []


def _listed(place: Type) -> list[str]:
    if isinstance(place, LiteralType):
        return [str(value) for value in place.values]
    if isinstance(place, EnumType):
        return [str(each.value) for each in place.cls]
    return []
