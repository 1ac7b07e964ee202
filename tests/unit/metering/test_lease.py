"""One holder at a time, and another soon after it is gone; in a database of either kind."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.backend import open_database
from metering.database import Database
from metering.lease import Lease, LeaseLostError, keep, lease_row

SECOND = 1_000_000_000


class Clock:
    now_ns = 0


def lease(database: Database, holder: str, clock: Clock, wall_ns: int = 7) -> Lease:
    return Lease(
        database,
        "epochs",
        holder,
        lease_s=10,
        monotonic_ns=lambda: clock.now_ns,
        wall_ns=lambda: wall_ns,
    )


def test_the_first_has_it_until_it_is_silent_for_the_lease(database: Database) -> None:
    clock = Clock()
    first, second = lease(database, "a", clock), lease(database, "b", clock, wall_ns=9)
    assert first.stand()
    assert not second.stand()
    clock.now_ns = 9 * SECOND
    assert first.held
    assert not second.stand()
    clock.now_ns = 10 * SECOND
    assert not first.held
    assert second.stand()
    assert second.held
    row = lease_row(database, "epochs")
    assert row is not None
    assert (row.holder, row.beat, row.taken_ns, row.beat_ns) == ("b", 2, 9, 9)
    assert not first.stand()


def test_nobody_takes_it_in_the_middle_of_what_is_written_under_it(where, database) -> None:
    clock = Clock()
    assert lease(database, "a", clock).stand()
    with contextlib.closing(open_database(where)) as elsewhere, ThreadPoolExecutor(1) as threads:
        second = lease(elsewhere, "b", clock)
        assert not second.stand()
        clock.now_ns = 10 * SECOND
        with database.transaction() as session:
            keep(session, "epochs", "a")
            taking = threads.submit(second.stand)
            assert wait([taking], timeout=0.3).not_done
        assert taking.result()
        with (
            pytest.raises(LeaseLostError, match="'a' no longer holds"),
            database.transaction() as session,
        ):
            keep(session, "epochs", "a")


def test_a_word_from_its_holder_begins_the_wait_anew(database: Database) -> None:
    clock = Clock()
    first, second = lease(database, "a", clock), lease(database, "b", clock)
    for turn in range(6):
        clock.now_ns = turn * 9 * SECOND
        assert first.stand()
        assert not second.stand()


def test_another_has_it_at_once_after_a_farewell(database: Database) -> None:
    clock = Clock()
    first, second = lease(database, "a", clock), lease(database, "b", clock)
    first.stand()
    first.leave()
    assert not first.held
    assert second.stand()
    first.leave()  # what is not its own it cannot give away
    assert not first.stand()


def test_who_starts_again_under_its_name_goes_on(database: Database) -> None:
    clock = Clock()
    lease(database, "a", clock).stand()
    again = lease(database, "a", clock, wall_ns=30)
    assert again.stand()
    row = lease_row(database, "epochs")
    assert row is not None
    assert (row.taken_ns, row.beat_ns) == (7, 30)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 6 * SECOND), st.booleans()), max_size=60
    )
)
def test_never_two_at_once(tmp_path: Path, turns: list[tuple[int, int, bool]]) -> None:
    """Clocks that began at any time but run alike; each stands when it likes, or says farewell."""
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
        database.query("DELETE FROM lease")
        clocks = [Clock() for _ in range(3)]
        standing = [lease(database, name, clock) for name, clock in zip("abc", clocks, strict=True)]
        for index, (who, passed_ns, leaves) in enumerate(turns):
            for clock in clocks:
                clock.now_ns += passed_ns
            if leaves and index % 7 == 0:
                standing[who].leave()
            else:
                standing[who].stand()
            assert sum(each.held for each in standing) <= 1
