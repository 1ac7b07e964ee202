"""Schemas as people write them: closed objects, every property required, as `strict` wants."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

WORD: Schema = {"type": "string", "maxLength": 24}


def _closed(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Schema, least: int, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


SHAPES: dict[str, Schema] = {
    "place": _closed(city={"type": "string"}, unit={"type": "string", "enum": ["C", "F"]}),
    "verdict": _closed(
        spam={"type": "boolean"},
        score={"type": "integer", "minimum": 0, "maximum": 100},
        kind={"const": "verdict"},
    ),
    "person": _closed(
        name=WORD,
        age={"type": ["integer", "null"], "minimum": 0, "maximum": 150},
        address=_closed(street=WORD, code={"type": "string", "pattern": "^[0-9]{5}$"}),
    ),
    "invoice": _closed(
        lines=_list(
            _closed(
                label=WORD,
                quantity={"type": "integer", "minimum": 1, "maximum": 99},
                price={"type": "number", "minimum": 0, "maximum": 10000},
            ),
            1,
            3,
        ),
        paid={"type": "boolean"},
    ),
    "labels": _closed(labels=_list({"type": "string", "enum": ["red", "green", "blue"]}, 1, 5)),
    "event": _closed(
        at={"anyOf": [_closed(date={"type": "string", "pattern": "^20[0-9]{2}-[01][0-9]$"}), WORD]},
        remind={"anyOf": [{"type": "integer", "minimum": 1, "maximum": 60}, {"type": "null"}]},
    ),
    "tree": {
        **_closed(root={"$ref": "#/$defs/node"}),
        "$defs": {
            "node": _closed(
                value={"type": "integer", "minimum": -9, "maximum": 9},
                left={"$ref": "#/$defs/leaf"},
            ),
            "leaf": _closed(value={"type": "integer", "minimum": -9, "maximum": 9}),
        },
    },
    "quoted": _closed(
        **{
            'a "quoted" key': {"type": "string", "enum": ['say "hi"', "back\\slash", "naïve ☂"]},
            "nested": _closed(deep=_closed(deeper=_closed(deepest={"type": "boolean"}))),
        }
    ),
}
