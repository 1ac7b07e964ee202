"""msgspec's word on a request body told in OpenAI's, with the field at fault in `param`. Pure."""

from __future__ import annotations

import re

from gateway import errors
from gateway.errors import ApiError
from gateway.openai.allowed import allowed_values
from gateway.openai.refused import instead_of

UNKNOWN = "unknown_parameter"
NAME_CHARS_MAX = 100
"""Of what a client called something; more of it is not told back."""

_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<where>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_RANGE = re.compile(r"Expected `(int|float)` ([<>]=? .*)")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_CHOICE = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
_VALUE = re.compile(r"Expected `\w+` (?:of length|matching)")


def explain(message: str, record: object, inside: str = "") -> ApiError:
    """msgspec's validation message of a value that should be a `record`, in OpenAI's words, with
    `param` in OpenAI's notation; `inside` is where in the body that value was.
    """
    match = _AT.match(message)
    what, where = (match["what"], match["where"] or "") if match else (message, "")
    at, where = where, (inside + where).removeprefix(".").replace("[...]", "[]")
    prefix = f"{where}." if where else ""
    if unknown := _UNKNOWN.match(what):
        param = prefix + unknown[1][:NAME_CHARS_MAX]
        return errors.bad_request(
            f"Unrecognized request argument supplied: {param}.{instead_of(param)}",
            param=param,
            code=UNKNOWN,
        )
    if missing := _MISSING.match(what):
        return missing_parameter(prefix + missing[1])
    if not where:
        return errors.bad_request(f"The request body must be a JSON object: {what}.")
    if range_ := _RANGE.match(what):
        kind = "integer" if range_[1] == "int" else "decimal"
        return errors.bad_request(
            f"Invalid '{where}': {kind} out of range, it must be {range_[2]}.",
            param=where,
            code=f"{kind}_out_of_range",
        )
    if choice := _CHOICE.match(what):
        return _not_allowed(where, choice[1], allowed_values(record, at))
    wrong = what[:1].lower() + what[1:]
    if match and match["key"]:
        wrong = f"of each name in it, {wrong}"
    if _VALUE.match(what):
        return errors.bad_request(
            f"Invalid value for '{where}': {wrong}.", param=where, code="invalid_value"
        )
    return errors.bad_request(
        f"Invalid type for '{where}': {wrong}.", param=where, code="invalid_type"
    )


def _not_allowed(where: str, given: str, allowed: list[str]) -> ApiError:
    message = f"Invalid value for '{where}': {given[:NAME_CHARS_MAX]}."
    if allowed:
        message += f" Supported values are: {', '.join(map(repr, allowed))}."
    return errors.bad_request(message, param=where, code="invalid_value")


def missing_parameter(param: str) -> ApiError:
    return errors.bad_request(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )
