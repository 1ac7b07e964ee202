"""docs/configuration.md, made from the records that read the TOML and the words in them.

`make config-page` writes it anew.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as mi

from gateway.config import Config

_RAISES = re.compile(r" ?Raises [^.]*\.")
PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGINNING = """# Configuration

Every key of `tollgate.toml`, the file of a gateway's home that says what it does; `make
config-page` makes this page of the code. Units stand in the names; a key in bold must be given. A
key that there is none of, or a value out of its bounds, ends the start and is named with its line.
`KEY_env` names an environment variable, `KEY_file` a file, that holds what `KEY` must not say here:
a secret.

What epochs pay by is in `ide.toml` ([ide.md](ide.md#parameters)). Prices can be changed without a
restart too ([prices.md](prices.md)).
"""


def page() -> str:
    config = mi.type_info(Config)
    assert isinstance(config, mi.StructType)
    parts = [part for each in config.fields for part in sections(each, "")]
    return "\n".join([BEGINNING, *parts])


def sections(field: mi.Field, above: str) -> Iterator[str]:
    """That of a field which is a table of its own, and those below it."""
    (struct,) = structs(field.type)
    path = f"{above}{field.encode_name}"
    heading = f"[[{path}]]" if isinstance(core(field.type), mi.VarTupleType) else f"[{path}]"
    lines = ["#" * (2 + path.count(".")) + f" `{heading}`", ""]
    if said := words_of(struct.cls).get(""):
        lines += [*textwrap.wrap(said, 118), ""]
    keys = [each for each in struct.fields if not structs(each.type)]
    if keys:
        words = words_of(struct.cls)
        lines += ["| key | is | if not given | |", "|---|---|---|---|"]
        lines += [_row(each, words.get(each.name, "")) for each in keys]
    yield "\n".join(lines) + "\n"
    for each in struct.fields:
        if structs(each.type):
            yield from sections(each, f"{path}.")


def _row(field: mi.Field, words: str) -> str:
    name = f"`{field.encode_name}`" if not field.required else f"**`{field.encode_name}`**"
    if not words and field.encode_name.endswith(("_env", "_file")):
        words = "Where the secret is."
    cells = [name, " or ".join(kinds(field.type)), _default(field), words]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: mi.Field) -> str:
    if field.required or field.default is None:
        return ""
    given = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(given, int) and not isinstance(given, bool) and given >= 10_000:
        return f"`{given:_}`"
    return f"`{json.dumps(given, default=_plain)}`"


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else list(value)  # type: ignore[call-overload]


def kinds(found: mi.Type) -> list[str]:
    """What a value may be, in words."""
    match found:
        case mi.UnionType():
            return [kind for each in found.types for kind in kinds(each)]
        case mi.Metadata():
            return kinds(found.type)
        case mi.NoneType():
            return []
        case mi.BoolType():
            return ["`true`", "`false`"]
        case mi.IntType():
            return ["a whole number" + _bounds(found.ge, found.le)]
        case mi.FloatType():
            above = ", above 0" if found.gt == 0 else _bounds(found.ge, found.le)
            return [f"a number{above}"]
        case mi.LiteralType():
            return [f'`"{each}"`' for each in found.values]
        case mi.EnumType():
            return [f'`"{each.value}"`' for each in found.cls]
        case mi.VarTupleType() | mi.ListType():
            return [f"a list of {' or '.join(kinds(found.item_type))}"]
        case mi.DictType():
            return ["a table"]
        case _:
            return ["text"]


def _bounds(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return "" if least is None else f" from {least:g}"
    return f" from {least:g} to {most:,}".replace(",", "_")


def core(found: mi.Type) -> mi.Type:
    """Without what a key that is not there is."""
    if isinstance(found, mi.Metadata):
        return core(found.type)
    if isinstance(found, mi.UnionType):
        (found,) = (each for each in found.types if not isinstance(each, mi.NoneType))
    return found


def structs(found: mi.Type) -> list[mi.StructType]:
    if isinstance(found, mi.StructType):
        return [found]
    if isinstance(found, mi.UnionType):
        return [struct for each in found.types for struct in structs(each)]
    if isinstance(found, mi.VarTupleType):
        return structs(found.item_type)
    return []


def words_of(cls: type[Any]) -> dict[str, str]:
    """What stands below each field, by its name; of the record itself under ""."""
    found: dict[str, str] = {}
    bases = [base for base in cls.__mro__ if issubclass(base, msgspec.Struct)]
    for each in reversed(bases[:-1]):
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(made, ast.ClassDef)
        found[""] = _line(ast.get_docstring(made) or "")
        for field, words in zip(made.body, made.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = _line(ast.literal_eval(words.value))
    return found


def _line(text: str) -> str:
    return _RAISES.sub("", " ".join(text.split()))


if __name__ == "__main__":
    PAGE.write_text(page())
