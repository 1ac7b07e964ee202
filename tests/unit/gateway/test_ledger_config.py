"""Where the books are: what is refused, and every command finds them there."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.config import ConfigError, parse
from gateway.home import Home

MODEL = """
[[model]]
id = "m"
context_tokens_max = 4096
prompt_usd_per_million = "0.20"
completion_usd_per_million = "0.60"
"""
REDIS = '[redis]\nurl = "redis://127.0.0.1/1"\n'
URL = "postgresql://tollgate:secret@db/books"


def where(home, *lines):
    text = "[ledger]\n" + "\n".join(lines) + "\n" + REDIS + MODEL
    return parse(text).ledger.where(home)


def test_the_books_are_in_the_home_unless_a_server_is_named(tmp_path, monkeypatch):
    home = Home(tmp_path)
    assert where(home) == parse(MODEL).ledger.where(home) == tmp_path / "ledger.db"
    assert where(home, 'url = "postgresql:///books"') == "postgresql:///books"
    monkeypatch.setenv("LEDGER_URL", URL)
    assert where(home, 'url_env = "LEDGER_URL"') == URL
    (tmp_path / "url").write_text(URL + "\n")
    assert where(home, f'url_file = "{tmp_path}/url"') == URL


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (('url = "postgresql://a"', 'url_env = "B"'), "only one"),
        (('url_env = "NOT_SET_AT_ALL"',), "NOT_SET_AT_ALL is empty.*postgresql://"),
        ((f'url = "{URL}"',), "holds a password"),
        (('url = "mysql://db/books"',), "PostgreSQL"),
        (('uri = "postgresql://a"',), "line 2 .*uri"),
    ],
)
def test_what_is_refused(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message) as refused:
        where(Home(tmp_path), *lines)
    assert "secret" not in str(refused.value)


def test_several_gateways_may_be_on_a_server_so_it_wants_redis():
    with pytest.raises(ConfigError, match=r"there is no \[redis\]"):
        parse('[ledger]\nurl = "postgresql:///books"\n' + MODEL)


@pytest.fixture
def run(tmp_path):
    def invoke(*args, code=0):
        done = CliRunner().invoke(main, [*args, "--home", str(tmp_path / "home"), "--json"])
        assert done.exit_code == code, done.output
        return [json.loads(line) for line in done.stdout.splitlines()] if not code else done.stderr

    return invoke


@pytest.fixture
def config(tmp_path, postgres_url):
    """A configuration away from the home; all that the commands read of it is its [ledger]."""
    (tmp_path / "url").write_text(postgres_url)
    file = tmp_path / "elsewhere.toml"
    file.write_text(f'[ledger]\nurl_file = "{tmp_path}/url"\n[redis]\nurl_env = "NOT_SET_AT_ALL"\n')
    return file


def test_every_command_finds_the_server_by_the_configuration(run, tmp_path, config):
    named = ("--config", str(config))
    assert run("account", "create", "alice", *named)[0]["account"] == "alice"
    run("account", "deposit", "alice", "5", "--id", "inv-1", *named)
    (made,) = run("key", "create", "--account", "alice", *named)
    assert not (tmp_path / "home").exists()

    (tmp_path / "home").mkdir()
    config.rename(tmp_path / "home" / "tollgate.toml")
    assert run("account", "show", "alice")[0]["available_nano_usd"] == 5 * 10**9
    assert [key["key_id"] for key in run("key", "list")] == [made["key_id"]]
    run("key", "revoke", made["key_id"])
    assert run("usage") == []
    assert run("ledger", "trial-balance")
    assert run("ledger", "verify")[0]["ok"]
    assert run("settle", "status")
    assert not (tmp_path / "home" / "ledger.db").exists()


def test_a_server_that_is_away_ends_the_command_in_a_line(run, config, tmp_path):
    (tmp_path / "url").write_text("postgresql://tollgate:secret@127.0.0.1:1/books")
    said = run("account", "list", "--config", str(config), code=1)
    assert said.startswith("Error: ledger postgresql://tollgate@127.0.0.1:1/books: ")
    assert "secret" not in said


def test_a_configuration_that_is_not_there_is_no_other_ledger(run, tmp_path):
    assert "does not exist" in run("account", "create", "a", "--config", "nowhere.toml", code=2)
    assert not (tmp_path / "home").exists()
