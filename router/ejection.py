"""When a node is left alone, for how long, and how it comes back.

    good --failure--> ejected --back-off passes--> half-open --trial answered--> good
                        ^                              |
                        +------- trial failed ---------+   (back-off doubles, to a cap)

A refused connection ejects at once: the process is gone, and whoever listed it may need many
seconds to notice. A timeout or a cut connection may be the network's or the request's fault:
these eject when they come several in a row. An error that the node answered with does not count,
because a client could cause it. While a node is ejected only its trial is evidence: requests that
were sent before it failed all fail too, and a stream may still finish on a node that no longer
accepts connections.
"""

import msgspec

from router.types import Termination

BACK_OFF_NS = 500_000_000
"""First back-off: 0.5 s, doubled for each trial that fails."""
BACK_OFF_NS_MAX = 30_000_000_000
FAILURES_TO_EJECT = {
    Termination.CONNECT_ERROR: 1,
    Termination.TIMEOUT: 3,
    Termination.BROKEN: 3,
}
_ANSWERED = frozenset({Termination.COMPLETED, Termination.NODE_ERROR, Termination.OVERLOADED})


class Health(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the ends of a node's requests have told so far."""

    failures: int = 0
    """In a row, while in good standing."""
    ejections: int = 0
    """Since it last answered."""
    ejected_until_ns: int = 0


GOOD = Health()


def after(
    health: Health, termination: Termination, *, now_ns: int, trial: bool, answered: bool
) -> Health:
    """Return the health after one more request has ended.

    `answered`: the node sent a first token, which proves it well even if the client then left.
    """
    if health.ejections and not trial:
        return health
    if termination in FAILURES_TO_EJECT:
        failures = health.failures + 1
        if not trial and failures < FAILURES_TO_EJECT[termination]:
            return Health(failures=failures)
        ejections = health.ejections + 1
        return Health(ejections=ejections, ejected_until_ns=now_ns + back_off_ns(ejections))
    if answered or termination in _ANSWERED:
        return GOOD
    return health


def back_off_ns(ejections: int) -> int:
    """Return how long the n-th ejection in a row lasts."""
    doublings = min(ejections - 1, 32)
    return min(BACK_OFF_NS << doublings, BACK_OFF_NS_MAX)
