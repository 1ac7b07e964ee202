"""A short run of `make contract`: every operation, fewer requests."""

from __future__ import annotations

import re
from pathlib import Path

import uvloop

from .amendments import AMENDMENTS
from .run import run
from .stand import MODEL, over_fake_node


def test_the_gateway_keeps_to_openais_api_document(tmp_path):
    def ask(url: str, key: str):
        return run(
            tmp_path, url=url, key=key, model=MODEL, examples=4, phases=("examples", "fuzzing")
        )

    result = uvloop.run(over_fake_node(tmp_path, ask))
    assert result.returncode == 0, result.stdout
    asked = re.search(r"(\d+) generated", result.stdout)
    assert asked is not None, result.stdout
    assert int(asked[1]) > 100, result.stdout


def test_each_amendment_is_told_in_the_readme():
    told = (Path(__file__).parent / "README.md").read_text()
    assert [each.where for each in AMENDMENTS if each.where not in told] == []
