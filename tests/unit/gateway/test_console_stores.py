"""Sessions, the audit trail and drained nodes, in a ledger of either kind."""

from __future__ import annotations

import contextlib

import pytest

from gateway.console.audit import BEGAN, DONE, AuditLine, AuditTrail
from gateway.console.login_pace import WINDOW_NS, WRONG_BY_ALL_MAX, WRONG_MAX, LoginPace
from gateway.console.sessions import IDLE_NS, LASTS_NS, Sessions
from gateway.drains import DrainStore
from metering.backend import open_database
from metering.key_store import KeyStore
from metering.ledger import LedgerError

NOW_NS = 10**18
KEY = "an admin key of some length"
LINE = AuditLine(
    at_ns=1, session="s", source="::1", action="drain", subject="n", outcome=BEGAN, detail="",
    once="a",
)  # fmt: skip


@pytest.fixture
def database(where):
    with contextlib.closing(open_database(where)) as made:
        yield made


def test_a_session_lasts_until_it_is_idle_old_or_ended(database):
    sessions = Sessions(database, KEY)
    secret, session = sessions.begin(NOW_NS)
    assert sessions.find(secret, NOW_NS + IDLE_NS - 1) == session
    assert sessions.find(secret, NOW_NS + 2 * IDLE_NS - 2) == session  # it was used meanwhile
    assert sessions.find(secret, NOW_NS + 3 * IDLE_NS) is None
    secret, session = sessions.begin(NOW_NS)
    for now_ns in range(NOW_NS, NOW_NS + LASTS_NS, IDLE_NS // 2):
        assert sessions.find(secret, now_ns) == session
    assert sessions.find(secret, NOW_NS + LASTS_NS) is None
    secret, _ = sessions.begin(NOW_NS)
    sessions.end(secret)
    assert sessions.find(secret, NOW_NS) is None


def test_a_session_is_of_one_admin_key_and_none_without(database):
    secret, session = Sessions(database, KEY).begin(NOW_NS)
    assert Sessions(database, KEY).find(secret, NOW_NS) == session
    assert Sessions(database, KEY + "x").find(secret, NOW_NS) is None
    off = Sessions(database, None)
    assert off.find(secret, NOW_NS) is None
    assert not off.is_key("")
    assert [Sessions(database, KEY).is_key(given) for given in (KEY, KEY + "x", "")] == [
        True, False, False,
    ]  # fmt: skip


def test_sessions_do_not_share_tokens_and_show_no_secret(database):
    sessions = Sessions(database, KEY)
    (one, first), (_, second) = sessions.begin(NOW_NS), sessions.begin(NOW_NS)
    assert first.csrf != second.csrf
    assert one not in (first.id, first.csrf)
    kept = database.query("SELECT digest FROM console_session")
    assert one.encode() not in [row[0] for row in kept]


def test_the_audit_trail_takes_each_pressing_once_and_is_never_changed(database):
    trail = AuditTrail(database)
    assert trail.write(LINE)
    assert not trail.write(LINE)
    done = AuditLine(
        at_ns=2, session="s", source="::1", action="drain", subject="n", outcome=DONE,
        detail="well", once="a",
    )  # fmt: skip
    assert trail.write(done)
    (last, first) = trail.newest(before_seq=None, limit=9)
    assert [last[1], first[1]] == [done, LINE]
    assert trail.newest(before_seq=last[0], limit=9) == [first]
    for sql in ("UPDATE console_audit SET source = 'x'", "DELETE FROM console_audit"):
        with pytest.raises(LedgerError, match="audit log is never"):
            database.query(sql)
    assert len(trail.newest(before_seq=None, limit=9)) == 2


def test_drained_nodes_are_kept_and_gateways_told(database):
    drains, keys = DrainStore(database), KeyStore(database)
    versions = [keys.version()]
    for change in (
        lambda: drains.drain("a", 5),
        lambda: drains.drain("a", 6),
        lambda: drains.drain("b", 7),
    ):
        change()
        versions.append(keys.version())
    assert drains.load() == {"a": 5, "b": 7}
    drains.resume("a")
    assert drains.load() == {"b": 7}
    assert versions == sorted(set(versions))


def test_wrong_keys_are_heard_ten_times_a_minute_from_one_address():
    pace = LoginPace()
    for _ in range(WRONG_MAX):
        assert pace.wait_ns("a", 100) == 0
        pace.was_wrong("a", 100)
    assert pace.wait_ns("a", 100 + WINDOW_NS - 1) == 1
    assert pace.wait_ns("b", 100) == 0
    assert pace.wait_ns("a", 100 + WINDOW_NS) == 0
    pace.was_wrong("a", 100 + WINDOW_NS)
    assert pace.wait_ns("a", 100 + WINDOW_NS) == 0


def test_wrong_keys_from_everywhere_have_an_end_too():
    pace = LoginPace()
    for number in range(WRONG_BY_ALL_MAX):
        assert pace.wait_ns(f"a{number}", 100) == 0
        pace.was_wrong(f"a{number}", 100)
    assert pace.wait_ns("another", 100) == WINDOW_NS
