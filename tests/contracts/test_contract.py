"""A short run of `make contract`: every operation, fewer requests."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import uvloop

from .amendments import AMENDMENTS
from .run import ANSWERING, kept_paths, run
from .stand import MODEL, over_fake_node


def generated(result) -> int:
    """How many requests there were, all of them answered as they should be."""
    assert result.returncode == 0, result.stdout
    asked = re.search(r"(\d+) generated", result.stdout)
    assert asked is not None, result.stdout
    return int(asked[1])


def test_the_gateway_keeps_to_openais_api_document(tmp_path):
    def ask(url: str, key: str):
        asked = partial(run, tmp_path, url=url, key=key, model=MODEL)
        whole = asked(examples=4, phases=["examples", "fuzzing"])
        good = asked(examples=20, phases=["fuzzing"], mode="positive", paths=ANSWERING)
        kept = [
            asked(examples=6, phases=["stateful"], mode="positive", paths=group)
            for group in kept_paths()
        ]
        return whole, good, *kept

    whole, good, *kept = uvloop.run(over_fake_node(tmp_path, ask))
    assert generated(whole) > 100
    assert generated(good) > 40
    for of_a_group in kept:
        assert generated(of_a_group) > 20
        linked = re.search(r"(\d+) covered", of_a_group.stdout)
        assert linked is not None, of_a_group.stdout
        assert int(linked[1]) > 0


def test_each_amendment_is_told_in_the_readme():
    told = (Path(__file__).parent / "README.md").read_text()
    assert [each.where for each in AMENDMENTS if each.where not in told] == []
