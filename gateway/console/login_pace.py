"""How often a wrong admin key may be tried. Pure.

A key of 24 random characters is not found by trying: this keeps the attempts from costing anything.
"""

from __future__ import annotations

from collections import OrderedDict

WRONG_MAX = 10
"""By one address within `WINDOW_NS`, and then none at all until the window is over."""
WRONG_BY_ALL_MAX = 300
WINDOW_NS = 60 * 10**9
_SOURCES_MAX = 10_000
_ALL = ""


class LoginPace:
    def __init__(self) -> None:
        self._windows: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By address: when its window began, and how often it was wrong in it."""

    def wait_ns(self, source: str, now_ns: int) -> int:
        """0: it may try."""
        return max(
            self._wait_ns(source, WRONG_MAX, now_ns), self._wait_ns(_ALL, WRONG_BY_ALL_MAX, now_ns)
        )

    def was_wrong(self, source: str, now_ns: int) -> None:
        for name in (source, _ALL):
            began_ns, wrong = self._windows.pop(name, (now_ns, 0))
            if not began_ns <= now_ns < began_ns + WINDOW_NS:
                began_ns, wrong = now_ns, 0
            self._windows[name] = (began_ns, wrong + 1)
        if len(self._windows) > _SOURCES_MAX:
            self._windows.popitem(last=False)

    def _wait_ns(self, name: str, most: int, now_ns: int) -> int:
        began_ns, wrong = self._windows.get(name, (now_ns, 0))
        return max(0, began_ns + WINDOW_NS - now_ns) if wrong >= most else 0
