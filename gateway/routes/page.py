"""A page of a list, and where the next begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def page_json(
    found: Sequence[T], limit: int, show: Callable[[T], dict[str, Any]], cursor: Callable[[T], str]
) -> dict[str, Any]:
    """A list of at most `limit`, of which one more was asked for to see if there is more."""
    shown = found[:limit]
    more = len(found) > limit
    return {
        "object": "list",
        "data": [show(each) for each in shown],
        "has_more": more,
        "next_cursor": cursor(shown[-1]) if more else None,
    }
