"""SLAs from the configuration to the verdict, on the command line."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from books import closed, opened, used

from gateway.billing.sla_config import SlaConfig
from gateway.config import ConfigError, parse
from metering.charge import ChargeOutcome
from metering.month import DAY_NS, day_text
from metering.posting import close_group, deposit_group, hold_group
from metering.sqlite_ledger import SqliteLedger

MODEL = """
[[model]]
id = "tiny"
context_tokens_max = 2048
prompt_usd_per_million = "0.20"
completion_usd_per_million = "0.60"
"""


def sla(**fields):
    lines = {"name": "gold", "since": "2026-11-01", "credit_percent": "10"} | fields
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    return f"[[sla]]\n{text}{MODEL}"


def served_two_days_ago(home, at_ns):
    """Nine charges that went well, and one that did not."""
    home.mkdir()
    ledger = SqliteLedger(home / "ledger.db", lambda: at_ns)
    ledger.post("t", [deposit_group("d", "alice", 10**9)])
    for number in range(10):
        opening = opened(f"c{number}")
        closing = closed(opening.charge_id, used(100) if number else None)
        outcome = ChargeOutcome.COMPLETED if number else ChargeOutcome.NODE_ERROR
        closing = msgspec.structs.replace(closing, closed_ns=at_ns, outcome=outcome)
        ledger.post("g", [hold_group(opening), close_group(opening, closing)])
    ledger.close()


def test_what_was_missed_is_credited_once_and_shown(run, tmp_path):
    at_ns = time.time_ns() - 2 * DAY_NS
    served_two_days_ago(tmp_path / "home", at_ns)
    day = day_text(at_ns // DAY_NS)
    config = sla(since=day, period="day", availability_percent="99.9", requests_min=5)
    (tmp_path / "home" / "tollgate.toml").write_text(config)
    code, out, err = run("sla", "run", "--json")
    assert (code, err) == (0, "")
    made = json.loads(out.splitlines()[0])
    assert (made["period"], made["missed"], made["failed"]) == (day, True, 1)
    assert made["credit_nano_usd"] == 9 * 62_000 // 10
    assert run("sla", "run")[1].startswith("Nothing new is over")
    shown = json.loads(run("sla", "show", "--account", "alice", "--json")[1])
    assert shown == made
    code, out, _ = run("sla", "show")
    assert (code, "90.0000% !" in out, "0.0000558" in out) == (0, True, True)
    assert run("sla", "show", "--account", "bob")[1].startswith("No period")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "promises nothing"),
        ({"ttft_p95_ms": 500, "name": "No!"}, "is no name"),
        ({"ttft_p95_ms": 500, "since": "2026-02-30"}, "is no day"),
        ({"ttft_p95_ms": 500, "since": "2026-11"}, "is no month"),
        ({"ttft_p95_ms": 500, "credit_percent": "0"}, "above 0"),
        ({"ttft_p95_ms": 500, "credit_percent": "101"}, "more than 100"),
        ({"availability_percent": "99,9"}, "no amount of percent"),
        ({"ttft_p95_ms": 500, "account": "Alice"}, "no account name"),
        ({"ttft_p95_ms": 0}, "ttft_p95_ms"),
        ({"ttft_p95_ms": 500, "period": "hour"}, "hour"),
        ({"ttft_p95_ms": 500, "credit": "10"}, "unknown field"),
    ],
)
def test_a_promise_that_cannot_be_is_refused(fields, why):
    with pytest.raises(ConfigError, match=why):
        parse(sla(**fields))


def test_two_of_one_name_are_refused():
    two = sla(ttft_p95_ms=500).replace(MODEL, "") + sla(ttft_p95_ms=500)
    with pytest.raises(ConfigError, match="configured twice"):
        parse(two)


def test_a_promise_is_read_exactly():
    config = SlaConfig(
        name="x", since="2026-11-01", credit_percent="2.5", availability_percent="99.95"
    )
    made = config.objective()
    assert (made.credit_ppm, made.availability_ppm) == (25_000, 999_500)
    assert made.since_ns % DAY_NS == 0
    assert day_text(made.since_ns // DAY_NS) == "2026-11-01"
