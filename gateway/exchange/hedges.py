"""When a first token is late, and whether another node may be asked for it too. Pure.

Late is what 95 of 100 streams with a prompt of its size (within a factor of two) were not, of the
last thousand of its model. Each stream earns a part of a second request: so many percent more are
sent at most, whatever the nodes do.
"""

from __future__ import annotations

from math import log

from gateway.sketch import PER_E, Sketch, percentile

SAMPLES_MIN = 50
"""With fewer, nothing is late."""
SAMPLES_MAX = 1_000
"""Then each counts half: what was is forgotten."""
SAMPLES_A_BOUND = 16
"""So often the bound is worked out anew."""
CREDIT_MAX = 1_000
"""Ten second requests in a row, in percent."""

_COST = 100


class _Seen:
    __slots__ = ("bound_ns", "sketch", "times", "total")

    def __init__(self) -> None:
        self.sketch: Sketch = {}
        self.total = 0
        self.times = 0
        self.bound_ns: int | None = None


class Hedges:
    """Of one process."""

    def __init__(self, percent_max: int) -> None:
        self._percent_max = percent_max
        self._credit = 0
        self._seen: dict[tuple[str, int], _Seen] = {}

    def begun(self) -> None:
        """A stream begins."""
        self._credit = min(self._credit + self._percent_max, CREDIT_MAX)

    def take(self) -> bool:
        """One more request, if the streams so far have earned it."""
        if self._credit < _COST:
            return False
        self._credit -= _COST
        return True

    def late_after_ns(self, model: str, prompt_tokens: int) -> int | None:
        """None while too little is known."""
        seen = self._seen.get((model, prompt_tokens.bit_length()))
        return None if seen is None else seen.bound_ns

    def saw(self, model: str, prompt_tokens: int, ttft_ns: int) -> None:
        """A first token took so long, or longer: it was waited for no more."""
        key = (model, prompt_tokens.bit_length())
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        bucket = int(log(max(1, ttft_ns)) * PER_E)
        seen.sketch[bucket] = seen.sketch.get(bucket, 0) + 1
        seen.total += 1
        seen.times += 1
        if seen.total >= SAMPLES_MAX:
            seen.sketch = {at: count >> 1 for at, count in seen.sketch.items() if count > 1}
            seen.total = sum(seen.sketch.values())
        if seen.times >= SAMPLES_MIN and seen.times % SAMPLES_A_BOUND == 0 and seen.sketch:
            seen.bound_ns = int(percentile(seen.sketch, 95))
