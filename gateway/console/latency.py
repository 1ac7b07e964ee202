"""How long people waited for the first token, by where the node was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Of so many answers; None where there was none."""

    answers: int
    p50_ns: int | None
    p90_ns: int | None
    p99_ns: int | None


def waits_by(
    first_tokens: Iterable[tuple[str, int]], group_of: Mapping[str, str]
) -> dict[str, Wait]:
    """`first_tokens` are nodes and what each answer of theirs took; nodes without a group count in
    none.
    """
    grouped: dict[str, list[int]] = {}
    for node_id, took_ns in first_tokens:
        group = group_of.get(node_id)
        if group is not None:
            grouped.setdefault(group, []).append(took_ns)
    return {group: wait_of(took) for group, took in grouped.items()}


def wait_of(took: Sequence[int]) -> Wait:
    ordered = sorted(took)
    return Wait(
        answers=len(ordered),
        p50_ns=_percentile(ordered, 50),
        p90_ns=_percentile(ordered, 90),
        p99_ns=_percentile(ordered, 99),
    )


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The smallest that so many are not above."""
    if not ordered:
        return None
    return ordered[-(-len(ordered) * percent // 100) - 1]
