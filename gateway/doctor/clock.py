"""Clocks that differ. Pure."""

from __future__ import annotations

from gateway.doctor.remark import Remark, fault, ok, warning

CHECK = "clock"
OFF_NS = 5 * 10**9
FAR_OFF_NS = 60 * 10**9
"""Signed messages, leases and the ends of epochs go wrong."""
ADVICE = "let chrony or systemd-timesyncd keep both clocks"


def compare(subject: str, ahead_ns: int) -> Remark:
    """`ahead_ns`: how far the other clock is ahead of ours."""
    off_ns = abs(ahead_ns)
    if off_ns < OFF_NS:
        return ok(CHECK, subject, f"agrees to {off_ns / 1e9:.1f} s")
    said = f"is {off_ns / 1e9:.0f} s {'ahead of' if ahead_ns > 0 else 'behind'} this machine"
    return (fault if off_ns >= FAR_OFF_NS else warning)(CHECK, subject, said, ADVICE)


def books_from_the_future(newest_ns: int, now_ns: int) -> Remark | None:
    """Is the newest row of the ledger younger than this moment?"""
    ahead_ns = newest_ns - now_ns
    if ahead_ns < OFF_NS:
        return None
    said = f"this machine is {ahead_ns / 1e9:.0f} s behind the newest row of the ledger"
    return fault(CHECK, "ledger", said, f"{ADVICE}; epochs wait until it is past that row")
