"""Sessions, the audit trail and drained nodes, in a ledger of either kind."""

from __future__ import annotations

import pytest

from gateway.audit.trail import DONE, REFUSED, AuditLine, AuditQuery, AuditTrail, Via
from gateway.console.login_pace import LOG_IN, WINDOW_NS, WRONG_BY_ALL_MAX, WRONG_MAX, LoginPace
from gateway.console.sessions import IDLE_NS, LASTS_NS, Sessions
from gateway.drain_store import DrainKind, Drains, DrainStore
from metering.key_store import KeyStore
from metering.ledger import LedgerError

NOW_NS = 10**18
KEY = "an admin key of some length"
NODE, MODEL = DrainKind.NODE, DrainKind.MODEL


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

    def begin() -> AuditLine | None:
        return trail.begin(
            via=Via.CONSOLE, who="s", source="::1", action="drain-node", subject="n",
            given={"why": "hot"}, once="a",
        )  # fmt: skip

    begun = begin()
    assert begun is not None
    assert begin() is None
    DrainStore(database).drain(NODE, "n", 5 * 10**9)
    trail.end(begun, DONE, "well")
    last, first = trail.newest(AuditQuery(limit=9))
    assert first[1] == begun
    assert (last[1].outcome, last[1].detail) == (DONE, "well")
    assert last[1].changes == [("drained at", "none", "1970-01-01 00:00:05")]
    assert trail.newest(AuditQuery(before=last[0])) == [first]
    assert trail.newest(AuditQuery(subject="n", action="drain-node")) == [last, first]
    assert trail.newest(AuditQuery(subject="m")) == trail.newest(AuditQuery(action="x")) == []
    for sql in ("UPDATE console_audit SET source = 'x'", "DELETE FROM console_audit"):
        with pytest.raises(LedgerError, match="audit log is never"):
            database.query(sql)
    assert len(trail.newest(AuditQuery())) == 2


def test_what_is_drained_is_kept_and_gateways_told(database):
    drains, keys = DrainStore(database), KeyStore(database)
    versions = [keys.version()]
    for change in (
        lambda: drains.drain(NODE, "a", 5),
        lambda: drains.drain(NODE, "a", 6),
        lambda: drains.drain(NODE, "b", 7),
        lambda: drains.drain(MODEL, "a", 8),
    ):
        change()
        versions.append(keys.version())
    assert drains.load() == Drains(nodes={"a": 5, "b": 7}, models={"a": 8})
    drains.end(NODE, "a")
    assert drains.load() == Drains(nodes={"b": 7}, models={"a": 8})
    assert versions == sorted(set(versions))


def wrong(database, source: str, now_ns: int) -> None:
    line = AuditLine(
        at_ns=now_ns, via=Via.CONSOLE, who="", source=source, action=LOG_IN, subject="",
        outcome=REFUSED,
    )  # fmt: skip
    AuditTrail(database).write(line)


def test_wrong_keys_are_heard_ten_times_a_minute_from_one_address_by_all_gateways(database):
    one, other = LoginPace(database), LoginPace(database)
    for number in range(WRONG_MAX):
        assert one.wait_ns("a", NOW_NS + number) == 0
        wrong(database, "a", NOW_NS + number)
    last_ns = NOW_NS + WRONG_MAX
    assert other.wait_ns("a", last_ns) == WINDOW_NS - WRONG_MAX
    assert other.wait_ns("b", last_ns) == 0
    assert other.wait_ns("a", NOW_NS + WINDOW_NS) == 0
    wrong(database, "a", NOW_NS + WINDOW_NS)
    assert other.wait_ns("a", NOW_NS + WINDOW_NS) == 1
    assert other.wait_ns("a", NOW_NS - 1) == 0  # a clock that was set back locks nobody out


def test_wrong_keys_from_everywhere_have_an_end_too(database):
    pace = LoginPace(database)
    with database.transaction() as session:
        for number in range(WRONG_BY_ALL_MAX):
            session.query(
                "INSERT INTO console_audit"
                " (at_ns, session, source, action, subject, outcome, detail)"
                " VALUES (?, '', ?, 'log in', '', 'refused', '')",
                NOW_NS,
                f"a{number}",
            )
    assert pace.wait_ns("another", NOW_NS) == WINDOW_NS
    assert pace.wait_ns("another", NOW_NS + WINDOW_NS) == 0
