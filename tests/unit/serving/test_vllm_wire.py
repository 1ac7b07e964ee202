"""The fake node against what a real vLLM 0.32 answered (tests/golden/vllm-0.32)."""

import asyncio
import http.client
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from serving.fake_node import FakeNode

GOLDEN = Path(__file__).parents[2] / "golden" / "vllm-0.32"
CASES: dict[str, Any] = json.loads((GOLDEN / "cases.json").read_text())
ANSWERS = {path.name.partition(".")[0]: path for path in GOLDEN.glob("*.*.*")}
LONG = "word " * 3_000
NOT_IMITATED = {
    "error-role-missing": "the fake takes any message",
    "embeddings-unsupported": "the fake embeds with every model",
}


@cache
def fake_answers() -> dict[str, tuple[int, str]]:
    """Ask the fake every case, once for all tests."""

    def ask(host: str, case: dict[str, Any]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(host)
        body = case.get("raw") or (json.dumps(case["body"]) if "body" in case else "")
        method = "POST" if body else "GET"
        connection.request(method, case["path"], body.replace("$LONG", LONG) or None)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    async def ask_all() -> dict[str, tuple[int, str]]:
        async with FakeNode(model="tiny") as node:
            host = node.url.removeprefix("http://")
            return {name: await asyncio.to_thread(ask, host, CASES[name]) for name in CASES}

    return asyncio.run(ask_all())


def keys(value: Any) -> Any:
    """Return a JSON value's keys in their order, with what is under each; leaves do not count."""
    if isinstance(value, dict):
        return tuple((key, keys(each)) for key, each in value.items())
    if isinstance(value, list):
        return ("list", *dict.fromkeys(keys(each) for each in value))
    return "leaf"


def events(text: str) -> list[Any]:
    assert text.endswith("\n\n")
    data = [part.removeprefix("data: ") for part in text[:-2].split("\n\n")]
    assert data.pop() == "[DONE]"
    return [keys(json.loads(each)) for each in data]


def names(kind: str) -> list[str]:
    return sorted(name for name in CASES if ANSWERS[name].suffix == kind)


def test_every_case_has_one_answer() -> None:
    assert ANSWERS.keys() == CASES.keys()
    assert len(ANSWERS) == len(list(GOLDEN.glob("*.*.*")))


@pytest.mark.parametrize("name", sorted(CASES.keys() - NOT_IMITATED))
def test_status(name: str) -> None:
    assert fake_answers()[name][0] == int(ANSWERS[name].suffixes[0][1:])


@pytest.mark.parametrize(
    "name", [name for name in names(".json") if "error-" in name and name not in NOT_IMITATED]
)
def test_errors_are_the_same_to_the_letter(name: str) -> None:
    status, text = fake_answers()[name]
    if status != 200:
        assert text == ANSWERS[name].read_text()


@pytest.mark.parametrize("name", [name for name in names(".json") if name not in NOT_IMITATED])
def test_answers_have_the_same_keys_in_the_same_order(name: str) -> None:
    text = fake_answers()[name][1]
    assert keys(json.loads(text)) == keys(json.loads(ANSWERS[name].read_text()))
    assert ": " not in text.partition('"choices"')[0].partition('"message"')[0], "no spaces"


@pytest.mark.parametrize("name", names(".sse"))
def test_events_have_the_same_keys_in_the_same_order(name: str) -> None:
    fake, real = (events(text) for text in (fake_answers()[name][1], ANSWERS[name].read_text()))
    if "stop" not in name:
        # Where an answer is cut by a stop string, its length is its own.
        assert list(dict.fromkeys(fake)) == list(dict.fromkeys(real))
    assert fake[-1] == real[-1]


@pytest.mark.parametrize("name", [name for name in names(".sse") if "n2" in name])
def test_choices_are_numbered_as_in_vllm(name: str) -> None:
    def indexes(text: str) -> set[int]:
        parts = [json.loads(part[6:]) for part in text.split("\n\n")[:-2]]
        return {choice["index"] for part in parts for choice in part["choices"]}

    assert indexes(fake_answers()[name][1]) == indexes(ANSWERS[name].read_text()) == {0, 1}
