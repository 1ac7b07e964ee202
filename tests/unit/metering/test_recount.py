"""Answers counted again: what is found, what an honest node is spared, what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metering.recount import (
    CALL_TOKENS,
    CHOICE_TOKENS,
    SLICE_CHARS,
    Fit,
    delivered_by_answer,
    delivered_by_stream,
    recount_completion,
    recount_prompt,
)
from metering.stream_meter import MalformedStreamError
from metering.tokens import TokenCounter

TESTS = Path(__file__).parents[2]
ANSWERS = [
    json.loads(line)
    for line in (TESTS / "golden/honest-answers/answers.jsonl").read_text().splitlines()
]
VLLM = TESTS / "golden/vllm-0.32"
COUNTER = TokenCounter.from_tokenizer_json(TESTS.parent / "serving/demo_model/tokenizer.json")


def words(text: str) -> int:
    return len(text.split())


def answer(*messages: dict, **choice) -> bytes:
    choices = [{"index": i, "message": m, **choice} for i, m in enumerate(messages)]
    return json.dumps({"choices": choices}).encode()


def completion(body: bytes, claimed: int, **changes):
    given = {"count": words, "fit": Fit.PLAIN, "choices": 1, "hidden_tokens_max": 0}
    return recount_completion(delivered_by_answer(body), claimed, **{**given, **changes})


def test_stream_and_whole_answer_deliver_the_same():
    events = [
        {"index": 0, "delta": {"role": "assistant", "content": ""}},
        {"index": 1, "delta": {"content": "one "}},
        {"index": 0, "delta": {"reasoning": "why "}},
        {"index": 0, "delta": {"reasoning": "not"}},
        {"index": 0, "delta": {"content": "two"}},
        {"index": 1, "delta": {"content": "three"}},
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}},
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}},
    ]
    stream = b"".join(
        b"data: " + json.dumps({"choices": [event]}).encode() + b"\r\n\r\n" for event in events
    )
    called = [{"function": {"name": "f", "arguments": "{}"}}]
    streamed = delivered_by_stream(b": hello\n\n" + stream + b"data: [DONE]\n\n")
    whole = delivered_by_answer(
        answer(
            {"content": "two", "reasoning": "why not", "tool_calls": called},
            {"content": "one three"},
        )
    )
    assert sorted(streamed.texts) == sorted(whole.texts) == ["f{}", "one three", "two", "why not"]
    for found in (streamed, whole):
        assert (found.choices, found.reasoned, found.calls) == (2, 1, 1)
        assert found.token_ids is None


@pytest.mark.parametrize("path", sorted(VLLM.glob("*token-ids*")), ids=lambda path: path.name)
def test_delivered_token_ids_are_exact(path):
    read = delivered_by_stream if path.suffix == ".sse" else delivered_by_answer
    delivered = read(path.read_bytes())
    found = recount_completion(
        delivered, delivered.token_ids, count=words, fit=Fit.PLAIN, choices=1, hidden_tokens_max=0
    )
    assert delivered.token_ids
    assert found.honest
    assert not recount_completion(
        delivered,
        delivered.token_ids + 1,
        count=words,
        fit=Fit.PLAIN,
        choices=1,
        hidden_tokens_max=0,
    ).honest


def test_ids_of_a_part_are_no_count_of_the_whole():
    body = json.dumps(
        {"choices": [{"text": "one two", "token_ids": [1]}, {"index": 1, "text": "three"}]}
    ).encode()
    assert delivered_by_answer(body).token_ids is None


def test_an_answer_may_claim_what_no_client_sees_and_no_more():
    body = answer({"content": "one " * 100})
    allowed = 100 + CHOICE_TOKENS + 5
    assert completion(body, allowed).honest
    found = completion(body, allowed + 1)
    assert not found.honest
    assert (found.counted, found.expected, found.claimed) == (100, allowed, allowed + 1)


def test_allowances_are_of_each_choice():
    body = answer({"content": "one"}, {"content": "two"})
    assert completion(body, 2 + 2 * CHOICE_TOKENS, choices=2).honest
    assert not completion(body, 3 + 2 * CHOICE_TOKENS, choices=2).honest
    assert completion(body, 2 + 2 * CHOICE_TOKENS + 6, choices=2, hidden_tokens_max=3).honest


def test_tool_calls_and_grammars_are_held_to_less():
    calls = [{"function": {"name": "weather", "arguments": "{}"}}]
    called = answer({"content": None, "tool_calls": calls})
    assert completion(called, CALL_TOKENS).honest
    plain = answer({"content": "one " * 100})
    assert not completion(plain, 140).honest
    assert completion(plain, 140, fit=Fit.SHAPED).honest
    assert not completion(plain, 200, fit=Fit.SHAPED).honest


def test_without_a_tokenizer_bytes_are_the_bound():
    body = answer({"content": "äö" * 50})
    assert completion(body, 200, count=None).honest
    assert not completion(body, 300, count=None).honest


def test_a_long_text_is_counted_in_parts():
    seen: list[int] = []

    def count(text: str) -> int:
        seen.append(len(text))
        return 1

    completion(answer({"content": "x" * (2 * SLICE_CHARS + 1)}), 1, count=count)
    assert seen == [SLICE_CHARS, SLICE_CHARS, 1]


@pytest.mark.parametrize("body", [b"", b"{", b'{"choices": 1}', b'{"choices": [{"text": 1}]}'])
def test_what_cannot_be_read_is_said(body):
    with pytest.raises(MalformedStreamError):
        delivered_by_answer(body)
    with pytest.raises(MalformedStreamError):
        delivered_by_stream(b"data: " + body + b"\n\n" if body else b"data: x\n\n")


def test_prompts():
    texts = ["one two three"]
    assert recount_prompt(texts, 3 + 12, count=words, token_ids=0, template=False).honest
    assert not recount_prompt(texts, 3 + 13, count=words, token_ids=0, template=False).honest
    assert recount_prompt(texts, 3 + 12 + 96, count=words, token_ids=0, template=True).honest
    assert not recount_prompt(texts, 3 + 12 + 97, count=words, token_ids=0, template=True).honest
    assert recount_prompt([], 1000 + 32, count=words, token_ids=1000, template=False).honest
    assert not recount_prompt([], 1100, count=words, token_ids=1000, template=False).honest


def honest(entry: dict, factor_percent: int = 100) -> bool:
    body = answer({"content": entry["text"]})
    claimed = -(-entry["completion_tokens"] * factor_percent // 100)
    return completion(body, claimed, count=COUNTER.count).honest


def test_no_honest_answer_of_a_real_model_is_suspected():
    """With its real tokenizer, at every temperature that the API allows and beyond. Less than 1%
    is the promise; that it is none says how much room there is.
    """
    assert len(ANSWERS) > 300
    assert [entry for entry in ANSWERS if not honest(entry)] == []


def test_no_honest_prompt_is_suspected():
    for entry in ANSWERS:
        texts = [message["content"] for message in entry["messages"]]
        found = recount_prompt(
            texts, entry["prompt_tokens"], count=COUNTER.count, token_ids=0, template=True
        )
        assert found.honest


def test_an_inflated_answer_of_a_usual_length_is_found_by_itself():
    usual = [e for e in ANSWERS if e["completion_tokens"] >= 50 and e["temperature"] <= 2]
    assert len(usual) > 20
    assert not any(honest(entry, 110) for entry in usual)
