import pytest

from router.ejection import BACK_OFF_NS, BACK_OFF_NS_MAX, GOOD, Health, after, back_off_ns
from router.types import Termination

T = Termination
EJECTED = Health(ejections=2, ejected_until_ns=100)


@pytest.mark.parametrize(
    ("before", "termination", "trial", "answered", "expected"),
    [
        # in good standing
        (GOOD, T.COMPLETED, False, True, GOOD),
        (GOOD, T.CONNECT_ERROR, False, False, Health(ejections=1, ejected_until_ns=BACK_OFF_NS)),
        (GOOD, T.TIMEOUT, False, False, Health(failures=1)),
        (GOOD, T.BROKEN, False, True, Health(failures=1)),
        (
            Health(failures=2),
            T.BROKEN,
            False,
            True,
            Health(ejections=1, ejected_until_ns=BACK_OFF_NS),
        ),
        (Health(failures=2), T.COMPLETED, False, True, GOOD),
        (Health(failures=2), T.NODE_ERROR, False, False, GOOD),
        (Health(failures=2), T.OVERLOADED, False, False, GOOD),
        (Health(failures=2), T.CLIENT_GONE, False, False, Health(failures=2)),
        (Health(failures=2), T.CLIENT_GONE, False, True, GOOD),
        # ejected: only the trial tells anything
        (EJECTED, T.CONNECT_ERROR, False, False, EJECTED),
        (EJECTED, T.COMPLETED, False, True, EJECTED),
        (EJECTED, T.COMPLETED, True, True, GOOD),
        (EJECTED, T.NODE_ERROR, True, False, GOOD),
        (EJECTED, T.CLIENT_GONE, True, False, EJECTED),
        (EJECTED, T.CLIENT_GONE, True, True, GOOD),
        (EJECTED, T.TIMEOUT, True, False, Health(ejections=3, ejected_until_ns=4 * BACK_OFF_NS)),
        (EJECTED, T.BROKEN, True, True, Health(ejections=3, ejected_until_ns=4 * BACK_OFF_NS)),
    ],
)
def test_after(
    before: Health, termination: T, trial: bool, answered: bool, expected: Health
) -> None:
    assert after(before, termination, now_ns=0, trial=trial, answered=answered) == expected


def test_back_off_doubles_to_a_cap() -> None:
    assert [back_off_ns(n) // BACK_OFF_NS for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert back_off_ns(7) == back_off_ns(10_000) == BACK_OFF_NS_MAX
