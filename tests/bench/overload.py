"""`make overload`: what an aggregator sees of a gateway with ten times more to do than it can.

It counts a 5xx against its provider and a 429 not; it wants that 429 before it has waited.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .endurance import NOWHERE, Finding, Tell, nothing_left
from .job import Job, Report
from .serve import NODES
from .shape import Shape
from .stage import Cores, Setting, Stage

OVERLOAD = 10
REFUSAL_P99_MS_MAX = 20.0
GOODPUT_MIN = 0.9
STREAM = Shape(events=20, apart_ms=20)


def overload(cores: Cores, tell: Tell, *, capacity_each: int, window_s: float) -> list[Finding]:
    """Capacity is what as many clients as there are places get, each asking again when answered."""
    capacity = capacity_each * NODES
    setting = Setting(capacity=capacity_each)
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), setting, cores) as stage:
        tell(f"{capacity} places, as many clients")
        job = Job(
            kind="streams",
            target=NOWHERE,
            connections=capacity,
            shape=STREAM,
            warm_s=1,
            window_s=window_s,
        )
        alone = stage.load(job)
        per_s = alone.answers / alone.window_s
        tell(f"{OVERLOAD} times the {per_s:.0f} streams a second that they get")
        flood = Job(
            kind="flood",
            target=NOWHERE,
            rate_per_s=OVERLOAD * per_s,
            own_sessions=True,
            shape=STREAM,
            warm_s=1,
            window_s=window_s,
        )
        report = stage.load(flood)
        good = report.answers / report.window_s / per_s
        refusal, statuses = report.refusal, report.statuses
        on_core = report.refusal_on_core
        assert refusal is not None, "nothing was refused"
        assert on_core is not None
        shown = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
        return [
            Finding(
                text=f"statuses at {OVERLOAD} x capacity: {shown}; {report.counted.failed} lost; "
                "only 200 and 429",
                met=set(statuses) == {"200", "429"} and not report.counted.failed,
            ),
            Finding(
                text=f"goodput: {good:.1%} of {per_s:.0f} streams/s, at least {GOODPUT_MIN:.0%}",
                met=good >= GOODPUT_MIN,
                timing=True,
            ),
            Finding(
                text=f"429 after {refusal.p50:.2f} ms (p50), {refusal.p99:.2f} (p99), "
                f"{refusal.max:.2f} (max); p99 under {REFUSAL_P99_MS_MAX:g}",
                met=refusal.p99 < REFUSAL_P99_MS_MAX,
                timing=True,
            ),
            Finding(
                text=f"gateway: {_share(report.gateway_cpu_s, report.window_s)} of a core busy, "
                f"others on it {_share(report.gateway_core_busy_s, report.window_s)} with it; "
                f"the load itself was {_late_ms(report):.2f} ms late (p99); it or the gateway "
                f"waited {report.core_wait_s:.2f} s for a core: less that, a 429 came after "
                f"{on_core.p50:.2f} ms (p50), {on_core.p99:.2f} (p99)",
                met=True,
            ),
            *nothing_left(stage),
        ]


def _share(cpu_s: float | None, window_s: float) -> str:
    return f"{(cpu_s or 0) / window_s:.0%}"


def _late_ms(report: Report) -> float:
    assert report.late is not None, "nothing was sent"
    return report.late.p99
