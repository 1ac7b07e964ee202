"""What is left out of a conversation that does not fit: pure, so by tables."""

from __future__ import annotations

import json

import pytest

from gateway.openai.request import TEMPLATE_TOKENS, read_as
from gateway.responses.items import ItemIds, judged
from gateway.responses.schema import responses_request
from gateway.responses.truncation import ITEM_TOKENS, bytes_count, fitting

WORDS = 100
TURN = WORDS + ITEM_TOKENS


def words(text: str) -> int:
    return len(text.split())


def turn(name: str, role: str = "user") -> dict:
    return {"role": role, "content": " ".join([name] * WORDS)}


CALL = {"type": "function_call", "call_id": "1", "name": "n", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "1", "output": " ".join(["o"] * WORDS)}


def left(items: list[dict], turns: int, **fields: object) -> list[str]:
    """What fits where there is room for so many turns."""
    body = {"model": "m", "input": items, "max_output_tokens": 16} | fields
    asked = read_as(responses_request, json.dumps(body).encode())
    whole = judged(items, ItemIds("0" * 24), {})
    fit = fitting(whole, asked, TEMPLATE_TOKENS + 16 + turns * TURN, words)
    return [
        item["content"][0]["text"].split()[0] if item["type"] == "message" else item["type"]
        for item in fit
    ]


@pytest.mark.parametrize(
    ("items", "turns", "fit"),
    [
        ([turn("a"), turn("b")], 2, ["a", "b"]),
        ([turn("a"), turn("b"), turn("c")], 2, ["b", "c"]),
        ([turn("a"), turn("b")], 0, ["b"]),
        ([turn("s", "system"), turn("a"), turn("b")], 2, ["s", "b"]),
        ([turn("a"), CALL, OUTPUT, turn("b")], 2, ["b"]),
        ([turn("a"), CALL, OUTPUT, turn("b")], 3, ["function_call", "function_call_output", "b"]),
    ],
)
def test_the_newest_stay(items: list[dict], turns: int, fit: list[str]) -> None:
    assert left(items, turns) == fit


def test_instructions_tools_and_pictures_take_room() -> None:
    items = [turn("a"), turn("b")]
    assert left(items, 2, instructions="a word") == ["b"]
    tool = {"type": "function", "name": "n", "description": "two words"}
    assert left(items, 2, tools=[tool]) == ["b"]
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    text = {"type": "input_text", "text": "see"}
    assert left([{"role": "user", "content": [text, picture]}, turn("b")], 2) == ["b"]


def test_without_a_tokenizer_three_bytes_are_a_token() -> None:
    assert [bytes_count(text) for text in ("", "a", "abcd", "€")] == [0, 1, 2, 1]
