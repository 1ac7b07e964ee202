"""How fast a node is, learned from its answers; normalised by length, so that it is no matter who
got the long prompts.

    first token after  fixed_ns + prefill_ns * prompt tokens computed       (network, engine, work)
    each token after   step_ns + step_ns_per_request * requests beside it

Each pair is followed by a Kalman filter (two numbers, their covariance, one division a sample),
which forgets slowly. What does not fit is a slowdown: a peak-EWMA of observed / predicted, taken
over at once when it is worse and left behind by and by when it is better, as in Finagle's and
tower's peak_ewma.
"""

import msgspec

NS_PER_S = 1_000_000_000

FORGETS = 1.02
"""The covariance grows by this with each sample: the last 50 or so count."""
NOISE = 0.08
"""What a sample may be off, as a share of what was predicted."""
NOISE_NS = 8e6
"""And at least."""
SLOW_FROM = 1.6
"""Observed / predicted from which on it is no noise."""
SLOW_FROM_NS = 100e6
"""And by at least so much."""
SLOWDOWN_MAX = 20.0
SLOW_HALF_NS = 12 * NS_PER_S
"""What is above 1 of a slowdown halves in this time without a sample, so that a node that has
recovered is tried again.
"""
_EASE_NS = 4e9
_LEARNED = 4
"""Samples after which what is known is worth more than what does not fit."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """`base + slope * x`, and how well it is known (a covariance)."""

    base: float
    slope: float
    p_base: float
    p_both: float
    p_slope: float

    def after(self, has_base: float, x: float, y: float, noise: float) -> "Line":
        """Corrected by one more sample `y` of `has_base * base + slope * x`, off by `noise`."""
        p_base, p_both, p_slope = self.p_base, self.p_both, self.p_slope
        g_base = p_base * has_base + p_both * x
        g_slope = p_both * has_base + p_slope * x
        spread = has_base * g_base + x * g_slope + noise * noise
        k_base, k_slope = g_base / spread, g_slope / spread
        off = y - has_base * self.base - x * self.slope
        base, slope = self.base + k_base * off, self.slope + k_slope * off
        if not (_near(base, self.base) and _near(slope, self.slope)):
            # As far as it may; it is known no better for that.
            return Line(
                _towards(base, self.base), _towards(slope, self.slope), p_base, p_both, p_slope
            )
        return Line(
            base,
            slope,
            min((p_base - k_base * g_base) * FORGETS, _P_MAX),
            (p_both - k_base * g_slope) * FORGETS,
            min((p_slope - k_slope * g_slope) * FORGETS, _P_MAX),
        )


_P_MAX = 1e18
_AT_ONCE_MAX = 2.0
"""A sample may halve or double what is known, not more: neither is ever 0 or less, and one prompt
that was not in the cache where it should have been does not keep a node from ever being sampled
again.
"""


def _near(new: float, known: float) -> bool:
    return known / _AT_ONCE_MAX <= new <= known * _AT_ONCE_MAX


def _towards(new: float, known: float) -> float:
    return min(max(new, known / _AT_ONCE_MAX), known * _AT_ONCE_MAX)


class Pace(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of one node. `slowdown` was right at `slow_at_ns`."""

    prefill: Line
    decode: Line
    samples: int = 0
    slowdown: float = 1.0
    slow_at_ns: int = 0

    def slowdown_at(self, now_ns: int) -> float:
        """What is left of it."""
        excess = self.slowdown - 1.0
        return 1.0 + excess * float(0.5 ** ((now_ns - self.slow_at_ns) / SLOW_HALF_NS))


UNKNOWN = Pace(
    prefill=Line(30e6, 0.3e6, 60e6**2, 0.0, 0.4e6**2),
    decode=Line(30e6, 0.4e6, 30e6**2, 0.0, 0.4e6**2),
)
"""Of a node that nothing is known of: neither flooded nor starved."""


def after_first_token(
    pace: Pace, *, tokens: int, took_ns: int, was_idle: bool, now_ns: int
) -> Pace:
    """`tokens` of a prompt were computed; the first token came `took_ns` after the request was
    sent, or, on a node that was not idle, after the first token of the one before it.
    """
    line, has_base = pace.prefill, 1.0 if was_idle else 0.3
    expected = has_base * line.base + line.slope * tokens
    slowdown = pace.slowdown
    if pace.samples >= _LEARNED:
        off_ns = took_ns - expected
        ratio = took_ns / expected if expected > 0 else 1.0
        if ratio > SLOW_FROM and off_ns > SLOW_FROM_NS:
            return msgspec.structs.replace(
                pace,
                samples=pace.samples + 1,
                slowdown=_peak(pace, min(ratio, SLOWDOWN_MAX), now_ns),
                slow_at_ns=now_ns,
            )
        if slowdown > 1.01:
            slowdown = _peak(pace, max(ratio, 1.0), now_ns)
    noise = NOISE * expected + NOISE_NS
    return Pace(
        prefill=line.after(has_base, tokens, took_ns, noise),
        decode=pace.decode,
        samples=pace.samples + (took_ns <= _AT_ONCE_MAX * expected),
        slowdown=slowdown,
        slow_at_ns=now_ns,
    )


def _peak(pace: Pace, ratio: float, now_ns: int) -> float:
    """A worse one at once, a better one by and by."""
    known = pace.slowdown_at(now_ns)
    if ratio >= known:
        return ratio
    share = float(0.5 ** ((now_ns - pace.slow_at_ns) / _EASE_NS + 0.5))
    return ratio + (known - ratio) * share


def after_answer(pace: Pace, *, beside: float, ns_per_token: float) -> Pace:
    """An answer's tokens came `ns_per_token` apart, with `beside` requests running."""
    line = pace.decode
    expected = line.base + line.slope * beside
    if ns_per_token > SLOW_FROM * 2 * expected and pace.samples >= _LEARNED:
        return pace  # the slowdown is told by first tokens
    noise = 0.2 * expected + 1e6
    return msgspec.structs.replace(pace, decode=line.after(1.0, beside, ns_per_token, noise))
