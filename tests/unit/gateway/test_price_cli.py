"""`tollgate price`: what it sets, shows and refuses."""

from __future__ import annotations

import re
import time

import pytest
from click.testing import CliRunner

from gateway.cli import main
from metering.price_book import LEAD_NS

SET = ["set", "m", "--prompt", "0.13", "--completion", "0.38"]


@pytest.fixture
def run(tmp_path):
    def invoke(*args):
        done = CliRunner().invoke(main, ["price", *args, "--home", str(tmp_path)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return invoke


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "tollgate.toml").write_text(
        '[[model]]\nid = "m"\ncontext_tokens_max = 10\nprompt_usd_per_million = "1"\n'
        'completion_usd_per_million = "2"\n'
    )


def test_a_price_is_set_for_now(lines):
    before_ns = time.time_ns()
    (entry,) = lines(*SET, "--cached-prompt", "0.05", "--request", "0.001", "--id", "one")
    after_ns = time.time_ns()
    assert before_ns + LEAD_NS <= entry["effective_ns"] <= after_ns + LEAD_NS
    assert (entry["id"], entry["seq"], entry["version"]) == ("one", 1, "130/50/380/1000000")
    assert lines(*SET, "--cached-prompt", "0.05", "--request", "0.001", "--id", "one") == [entry]


def test_a_price_with_discounts_for_a_moment_to_come(lines):
    (entry,) = lines(
        *SET, "--batch-discount-ppm", "500000", "--off-peak", "daily 22:00-06:00 250000",
        "--off-peak", "sat,sun 00:00-24:00 300000", "--from", "2200-01-01T01:00:00+01:00",
    )  # fmt: skip
    assert entry["effective_from"] == "2200-01-01T00:00:00Z"
    assert [each["version"] for each in entry["discounted"]] == [
        "65/65/190~batch:500000",
        "97/97/285~off-peak:250000",
        "91/91/266~off-peak:300000",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "2020-01-01T00:00:00Z"], "not changed backwards"),
        (["--from", "2200-01-01T00:00:00"], "date, time and zone"),
        (["--from", "tomorrow"], "date, time and zone"),
        (["--cached-prompt", "0.0001"], "'m': cached_prompt_usd_per_million: .*whole number"),
        (["--request", "-1"], "request_usd"),
        (["--off-peak", "daily 22:00"], "no off-peak window"),
        (["--batch-discount-ppm", "1000001"], "range"),
    ],
)
def test_what_cannot_be_set(run, options, message):
    code, out, err = run(*SET, *options)
    assert (code != 0, out) == (True, "")
    assert re.search(message, err), err


def test_the_list_says_what_is_in_force(lines, run, configured):
    lines(*SET, "--from", "2200-01-01T00:00:00Z", "--id", "one")
    lines(*SET, "--from", "2200-01-01T00:00:00Z", "--id", "two", "--request", "1")
    found = lines("list")
    assert [(line["version"], line["state"]) for line in found] == [
        ("1000/1000/2000", "in force"),
        ("130/130/380", "taken back"),
        ("130/130/380/1000000000", "ahead"),
    ]
    assert lines("list", "--model", "other") == []
    code, out, _ = run("list")
    assert code == 0
    assert "(configuration)" in out
    assert "2200-01-01T00:00:00Z" in out


def test_a_version_is_looked_up(lines, run, configured):
    lines(*SET, "--batch-discount-ppm", "500000", "--from", "2200-01-01T00:00:00Z")
    (found,) = lines("show", "65/65/190~batch:500000")
    assert (found["prompt"], found["completion"], found["reduction"]) == (65, 190, "batch")
    assert [each["effective_from"] for each in found["tariffs"]] == ["2200-01-01T00:00:00Z"]
    (first,) = lines("show", "1000/1000/2000")
    assert [each["effective_from"] for each in first["tariffs"]] == [None]
    (never,) = lines("show", "1/2/3/4")  # of another book: the name says it all the same
    assert (never["cached_prompt"], never["request"], never["tariffs"]) == (2, 4, [])
    code, out, _ = run("show", "65/65/190~batch:500000")
    assert code == 0
    assert "completion token 190 (0.19 USD for a million)" in out
    assert "discount of 500000 ppm (batch)" in out
    code, _, err = run("show", "v1")
    assert code == 1
    assert "no version of a price" in err
