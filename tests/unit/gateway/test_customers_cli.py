"""`tollgate account` and `tollgate key`: credit, warnings, terms, sub-keys, rotation."""

from __future__ import annotations

import contextlib
import time

import pytest

from metering import keys
from metering.backend import open_database
from metering.customer_store import CustomerStore
from metering.key_bounds import by_digest
from metering.key_store import KeyStore


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def database(tmp_path):
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as made:
        yield made


def test_a_credit_line_is_lent_changed_and_shown(run, lines):
    (made,) = lines("account", "create", "alice", "--credit-line", "500")
    assert (made["available_usd"], made["credit_line_usd"], made["paid_in_usd"]) == (
        "500",
        "500",
        "0",
    )
    (changed,) = lines("account", "update", "alice", "--credit-line", "20.5")
    assert changed["available_nano_usd"] == changed["credit_line_nano_usd"] == 20_500_000_000
    assert "credit line 20.5, drawn 0" in run("account", "show", "alice")[1]


def test_warnings_are_set_listed_and_ended(run, lines, database):
    lines("account", "create", "alice", "--warn-below", "3")
    CustomerStore(database).warn(time.time_ns())
    (warning,) = lines("account", "warnings")
    assert (warning["account"], warning["threshold_usd"], warning["available_usd"]) == (
        "alice",
        "3",
        "0",
    )
    assert "alice" in run("account", "warnings")[1]
    (changed,) = lines("account", "update", "alice", "--warn-below", "none")
    assert changed["warn_below_usd"] is None


def test_an_account_is_suspended_and_closed(run, lines):
    lines("key", "create", "--account", "alice")
    code, out, _ = run("account", "update", "alice", "--state", "suspended")
    assert (code, out.splitlines()[0]) == (0, "alice: 0 USD available, suspended")
    run("account", "update", "alice", "--state", "closed")
    assert lines("key", "list")[0]["revoked_at"] is not None
    for args in (
        ("account", "update", "alice", "--state", "active"),
        ("key", "create", "--account", "alice"),
    ):
        code, _, err = run(*args)
        assert code == 1
        assert "closed" in err


def test_the_terms_of_a_key_are_given_changed_and_taken_away(run, lines):
    options = ("--model", "a", "--model", "b", "--cap", "50", "--cycle", "monthly")
    (made,) = lines(
        "key", "create", "--account", "alice", *options, "--rpm", "5", "--expires", "2031-02-03"
    )
    assert made["models"] == ["a", "b"]
    assert (made["spend_cap_usd"], made["spend_cycle"]) == ("50", "monthly")
    assert made["expires_at"] == 1_927_843_200
    key_id = made["key_id"]
    (changed,) = lines("key", "update", key_id, "--model", "none", "--rpm", "none", "--name", "x")
    assert (changed["models"], changed["requests_per_minute"], changed["name"]) == (None, None, "x")
    assert changed["spend_cap_usd"] == "50"
    (changed,) = lines(
        "key", "update", key_id, "--expires", "2h", "--cap", "none", "--cycle", "none"
    )
    assert abs(changed["expires_at"] - time.time() - 7200) < 60
    assert (changed["spend_cap_usd"], changed["spend_cycle"]) == (None, None)
    assert lines("key", "show", key_id) == lines("key", "list") == [changed]
    assert key_id in run("key", "show", key_id)[1]


def test_sub_keys_are_made_within_bounds_and_revoked_with_their_parent(run, lines):
    (parent,) = lines("key", "create", "--account", "alice", "--cap", "5", "--manages-keys")
    (child,) = lines("key", "create", "--parent", parent["key_id"], "--cap", "4")
    assert child["parent_key_id"] == parent["key_id"]
    code, _, err = run("key", "create", "--parent", parent["key_id"], "--cap", "6")
    assert code == 1
    assert "beyond" in err
    assert [key["key_id"] for key in lines("key", "list", "--parent", parent["key_id"])] == [
        child["key_id"]
    ]
    run("key", "revoke", parent["key_id"])
    assert all(key["revoked_at"] for key in lines("key", "list"))


def test_a_key_is_rotated_with_a_grace_period(run, lines, database):
    (made,) = lines("key", "create", "--account", "alice")
    code, secret, err = run("key", "rotate", made["key_id"], "--grace", "24h")
    assert code == 0
    assert "not shown again" in err
    found = by_digest(KeyStore(database).load_all())
    assert set(found) == {keys.digest(made["api_key"]), keys.digest(secret.strip())}
    (shown,) = lines("key", "show", made["key_id"])
    assert abs(shown["previous_secret_until"] - time.time() - 86_400) < 60


@pytest.mark.parametrize(
    ("args", "why", "exit_code"),
    [
        (("key", "create"), "either --account or --parent", 2),
        (("key", "create", "--account", "a", "--parent", "k"), "either --account or --parent", 2),
        (("key", "create", "--account", "a", "--cycle", "yearly"), "'yearly' is not one of", 2),
        (("key", "create", "--account", "a", "--expires", "soon"), "2027-01-31", 2),
        (("key", "create", "--account", "a", "--cycle", "daily"), "give the cap too", 1),
        (("key", "update", "k"), "nothing to change", 2),
        (("key", "rotate", "k", "--grace", "1 day"), "write it like 24h", 2),
        (("key", "rotate", "k"), "there is no key 'k'", 1),
        (("key", "show", "k"), "there is no key 'k'", 1),
        (("account", "update", "a"), "nothing to change", 2),
        (("account", "update", "b", "--state", "closed"), "there is no account 'b'", 1),
        (("account", "update", "a", "--warn-below", "0"), "never less than 0", 2),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(run, args, why, exit_code):
    run("account", "create", "a")
    code, out, err = run(*args)
    assert (code, out) == (exit_code, "")
    assert why in err
