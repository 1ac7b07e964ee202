"""A slip in a name is remarked on where it would change nothing in silence."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.admin_ask import _reason
from gateway.errors import not_found

CONFIG = """
[[model]]
id = "tiny"
context_tokens_max = 10
prompt_usd_per_million = "1"
completion_usd_per_million = "2"

[[node]]
id = "house-1"
supplier = "house"
url = "http://127.0.0.1:1"
model = "tiny"
"""
PRICED = ("price", "set", "tiny", "--prompt", "1", "--completion", "2")


@pytest.fixture
def told(tmp_path):
    (tmp_path / "tollgate.toml").write_text(CONFIG)

    def invoke(*args: str) -> str:
        done = CliRunner().invoke(main, [*args, "--home", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.stderr

    assert invoke(*PRICED) == ""
    return invoke


def test_a_name_that_is_known_is_not_remarked_on(told):
    assert told("drain", "node", "house-1") == told("drain", "model", "tiny") == ""


@pytest.mark.parametrize(
    ("args", "missing", "known"),
    [
        (("drain", "node", "house-2"), "no node 'house-2'", "house-1"),
        (("drain", "model", "tinny"), "no model 'tinny'", "tiny"),
        (("price", "set", "tinny", *PRICED[3:]), "no model 'tinny'", "tiny"),
    ],
)
def test_a_name_that_nobody_knows_is(told, args, missing, known):
    remark = told(*args)
    assert missing in remark
    assert known in remark


def test_an_invitation_that_nobody_can_use_or_earn_by_is_remarked_on(told, tmp_path):
    invite = ("node", "invite", "--supplier", "bob")
    assert "no [enrolment]" in told(*invite)
    (tmp_path / "tollgate.toml").write_text(CONFIG + '[enrolment]\nauthority = "gw"\n')
    assert "Note" not in told(*invite, "--gpu", "RTX-4090")
    assert "'RTX4090', its time earns nothing; did you mean RTX-4090?" in told(
        *invite, "--gpu", "RTX4090"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (not_found("There is no decision.").body(), "There is no decision."),
        (b"<html>", "<html>"),
        (b"[]", "[]"),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_refusal_is_told_by_its_message(body, reason):
    assert _reason(body) == reason
