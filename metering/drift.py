"""Does a node claim more than we count, by less than a single answer can show? Pure.

Claims are held against counts by a line: claimed = what is always added + slope * counted. A chat
template adds the same to every prompt of the same shape, whatever its length, so answers are
grouped by shape and only what happens within a group counts: the slope of an honest node is 1
whatever its template says, and that of a node that adds 10% is 1.1. What such a node adds to each
answer alike it does not show; that is for the allowance of one answer.

Windows follow each other, so that years of honesty do not hide the last day.
"""

from __future__ import annotations

from math import sqrt

import msgspec

WINDOW_ANSWERS = 150
ANSWERS_MIN = 20
GROUPS_MAX = 64
"""Shapes told apart in a window; answers of others are left out."""

MATERIAL = 0.04
"""A slope this much above 1 is a difference of tokenizers; beyond it, it is somebody's."""
ERRORS = 4.0
"""And it must be so many standard errors beyond: 1 window in 30,000 by chance."""


class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """Of claims over counts, in a window so far."""

    answers: int
    counted: int
    claimed: int
    excess: float
    """How much the slope is above 1."""
    error: float
    """Its standard error."""

    @property
    def honest(self) -> bool:
        return self.excess <= MATERIAL + ERRORS * self.error


class _Group:
    """Sums over one shape."""

    __slots__ = ("answers", "x", "xx", "xy", "y", "yy")

    def __init__(self) -> None:
        self.answers = self.x = self.y = self.xx = self.xy = self.yy = 0

    def add(self, x: int, y: int) -> None:
        self.answers += 1
        self.x += x
        self.y += y
        self.xx += x * x
        self.xy += x * y
        self.yy += y * y


class Drift:
    """Of one node."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._answers = 0
        self._told = False

    def add(self, shape: str, counted: int, claimed: int) -> Slope | None:
        """Take one answer in. Returns the slope if it is a finding: once in a window."""
        if self._answers >= WINDOW_ANSWERS:
            self._begin()
        group = self._groups.get(shape)
        if group is None:
            if len(self._groups) >= GROUPS_MAX:
                return None
            group = self._groups[shape] = _Group()
        group.add(counted, claimed)
        self._answers += 1
        if self._told or self._answers < ANSWERS_MIN:
            return None
        slope = self.slope()
        if slope is None or slope.honest:
            return None
        self._told = True
        return slope

    def slope(self) -> Slope | None:
        """None while too little is known, or all answers of a shape were equally long."""
        groups = [group for group in self._groups.values() if group.answers > 1]
        answers = sum(group.answers for group in groups)
        free = answers - len(groups) - 1
        spread = sum(g.xx - g.x * g.x / g.answers for g in groups)
        if free < ANSWERS_MIN // 2 or spread <= 0:
            return None
        slope = sum(g.xy - g.x * g.y / g.answers for g in groups) / spread
        rest = sum(g.yy - g.y * g.y / g.answers for g in groups) - slope * slope * spread
        return Slope(
            answers=answers,
            counted=sum(group.x for group in groups),
            claimed=sum(group.y for group in groups),
            excess=slope - 1,
            error=sqrt(max(rest, 0.0) / free / spread),
        )
