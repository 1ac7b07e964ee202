"""A stream gone on with on another node, played event by event."""

from __future__ import annotations

import json

import pytest
from exchange_play import Play

from gateway.exchange.actions import Dial, End, HangUp, Record
from gateway.exchange.resume import PROBE_PATH, PROBES_MAX
from metering.charge import ChargeOutcome, ChargeProgress
from metering.usage import Usage, UsageSource
from router.types import Termination

DONE = b"data: [DONE]\n\n"
HEAD = {"id": "one", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def sse(fields: dict) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


def usage(completion: int, prompt: int = 2) -> dict:
    return {"prompt_tokens": prompt, "total_tokens": 0, "completion_tokens": completion}


def opening() -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    return sse({**HEAD, "choices": [choice], "usage": usage(0), "prompt_token_ids": [90, 91]})


def part(text: str, ids: list[int], count: int, **choice) -> bytes:
    told = {"index": 0, "delta": {"content": text}, "finish_reason": None, "token_ids": ids}
    return sse({**HEAD, "choices": [told | choice], "usage": usage(count)})


def more(text: str, ids: list[int], count: int, finish: str | None = None) -> bytes:
    """Of the completion that goes on."""
    choice = {"index": 0, "text": text, "finish_reason": finish, "stop_reason": None}
    head = {"id": "two", "object": "text_completion", "created": 6, "model": "m"}
    return sse({**head, "choices": [{**choice, "token_ids": ids}], "usage": usage(count, 9)})


def closing(count: int) -> bytes:
    return sse({"id": "two", "choices": [], "usage": usage(count, 9)})


def texts(play: Play) -> str:
    lines = play.sent.split(b"\n\n")
    events = [json.loads(line[6:]) for line in lines if b"choices" in line and b"error" not in line]
    assert {event["id"] for event in events} == {"one"}
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


def begun(*events: bytes, nodes: int = 3) -> Play:
    return Play(nodes=nodes).opened().head().body(opening(), *events)


def asked(play: Play) -> dict:
    return json.loads(play.of(Dial)[-1].body)


def test_the_next_node_goes_on_from_the_ids():
    play = begun(part("a", [1], 1), part("b", [2], 2)).failed(Termination.BROKEN)
    dial = play.of(Dial)[-1]
    assert dial.path == "/v1/completions"
    assert asked(play)["prompt"] == [90, 91, 1, 2]
    assert asked(play)["max_tokens"] == 48
    (noted,) = [a for a in play.of(Record) if isinstance(a.row, ChargeProgress)][-1:]
    assert noted.row.usage == Usage(prompt_tokens=2, completion_tokens=2)
    play.head().body(more("c", [3], 1), more("d", [4], 2, "stop"), closing(2) + DONE).closed()
    assert texts(play) == "abcd"
    assert play.of(End)
    close = play.close
    assert close.outcome is ChargeOutcome.COMPLETED
    assert close.usage == Usage(prompt_tokens=2, completion_tokens=4)
    assert close.usage_source is UsageSource.COUNTED
    assert [leg.usage.completion_tokens for leg in close.legs] == [2]
    assert close.node_id == dial.node.node_id != close.legs[0].node_id
    assert play.in_flight == 0


def test_what_came_in_one_piece_with_garbage_is_not_lost():
    play = begun(part("a", [1], 1)).body(part("b", [2], 2) + b'data: {"usage" nonsense\n\n')
    assert asked(play)["prompt"] == [90, 91, 1, 2]
    play.head().body(more("c", [3], 1, "stop"), closing(1) + DONE).closed()
    assert texts(play) == "abc"
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=3)


def test_the_one_that_goes_on_may_die_too_and_one_that_made_nothing_is_paid_nothing():
    play = begun(part("a", [1], 1)).failed(Termination.BROKEN)
    play.failed()  # not reached at all
    play.head().body(more("b", [2], 1)).node_end().closed()
    assert play.exchange.attempts == 3
    assert texts(play).startswith("ab")
    assert b'"finish_reason":"error"' in play.sent
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=2)
    assert len(play.close.legs) == 1


def test_three_nodes_give_one_answer():
    play = begun(part("a", [1], 1)).failed(Termination.BROKEN)
    play.head().body(more("b", [2], 1)).failed(Termination.BROKEN)
    assert asked(play)["prompt"] == [90, 91, 1, 2]
    play.head().body(more("c", [3], 1, "stop"), closing(1) + DONE).closed()
    assert texts(play) == "abc"
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=3)
    assert [leg.usage.prompt_tokens for leg in play.close.legs] == [2, 0]


def test_a_client_that_leaves_between_two_nodes_pays_the_first():
    play = begun(part("a", [1], 1)).failed(Termination.BROKEN)
    play.do(play.exchange.client_gone(play.tick()))
    assert play.of(HangUp)
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=1)
    assert play.close.legs == ()
    assert play.close.node_id == play.of(Dial)[0].node.node_id


def test_tokens_without_text_are_made_again():
    """The first bytes of a character: at a seam behind them a vLLM would tell the whole prompt."""
    play = begun(part("a", [1], 1), part("", [2], 2), part("", [3], 3)).failed(Termination.BROKEN)
    assert asked(play)["prompt"] == [90, 91, 1]
    play.head().body(more("é", [2, 3], 2, "stop"), closing(2) + DONE).closed()
    assert texts(play) == "aé"
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=3)


def test_many_tokens_without_text_are_kept():
    """They are no part of a character: after its end, a model that may not end tells such."""
    silent = [part("", [8], count) for count in range(2, 14)]
    play = begun(part("a", [1], 1), *silent).failed(Termination.BROKEN)
    assert asked(play)["tokens"] == [8] * 8
    play.head().body(b'{"prompt":""}').node_end()
    assert asked(play)["prompt"] == [90, 91, 1, *[8] * 12]
    play.head().body(more("b", [2], 1, "stop"), closing(1) + DONE).closed()
    assert texts(play) == "ab"
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=14)


def test_a_seam_among_several_tokens_is_looked_for():
    play = begun(part("ab", [1, 2, 3, 4], 4)).failed(Termination.BROKEN)
    node = play.of(Dial)[-1].node
    for ids, text in (([1, 2, 3, 4], "ab�"), ([1, 2, 3], "ab�"), ([1, 2], "ab")):
        assert play.of(Dial)[-1].path == PROBE_PATH
        assert asked(play)["tokens"] == ids
        play.head().body(json.dumps({"prompt": text}).encode()).node_end()
        assert play.of(Dial)[-1].node is node
    assert asked(play)["prompt"] == [90, 91, 1, 2]
    play.head().body(more("日", [3, 4], 2, "stop"), closing(2) + DONE).closed()
    assert texts(play) == "ab日"
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=4)
    assert play.close.legs[0].usage.completion_tokens == 2
    assert play.in_flight == 0


@pytest.mark.parametrize("answer", [b"no JSON", b'{"prompt":"\xef\xbf\xbd"}'])
def test_a_seam_that_is_not_found_ends_the_stream(answer):
    play = begun(part("a", [1, 2, 3, 4, 5, 6], 6), nodes=2).failed(Termination.BROKEN)
    for _ in range(PROBES_MAX):
        play.head().body(answer).node_end()
    play.closed()
    assert b'"finish_reason":"error"' in play.sent
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN


@pytest.mark.parametrize(
    "delta",
    [{"reasoning": "hm"}, {"tool_calls": [{"index": 0}]}, {"content": "a", "reasoning": ""}],
)
def test_what_a_parser_made_of_the_text_is_not_gone_on_with(delta):
    play = begun(part("", [1], 1, delta=delta)).failed(Termination.BROKEN).closed()
    assert len(play.of(Dial)) == 1
    assert b'"finish_reason":"error"' in play.sent


def test_a_node_that_shows_no_ids_is_not_gone_on_from():
    event = sse({**HEAD, "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": usage(1)})
    play = Play().opened().head().body(event).failed(Termination.BROKEN)
    assert len(play.of(Dial)) == 1
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=1)


def test_a_client_that_does_not_read_is_not_waited_for_longer_because_a_node_died():
    play = begun(part("a", [1], 1))
    play.exchange.client_slow(play.tick())
    deadline_ns = play.exchange.deadline_ns
    play.failed(Termination.BROKEN)
    assert len(play.of(Dial)) == 2
    assert play.exchange.client_stalls, "the driver is not to read from the next node"
    assert play.exchange.deadline_ns == deadline_ns
    play.do(play.exchange.expired(deadline_ns))
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=1)


def test_only_a_vllm_goes_on():
    play = Play(nodes=2, others="openai").opened().head().body(opening(), part("a", [1], 1))
    play.failed(Termination.BROKEN)
    assert len(play.of(Dial)) == 1


def test_refusal_of_the_node_that_is_to_go_on_is_no_fault_of_the_client():
    play = begun(part("a", [1], 1), nodes=2).failed(Termination.BROKEN)
    play.head(400).body(b'{"error":{"message":"no","code":400}}').node_end().closed()
    assert b'"finish_reason":"error"' in play.sent
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN
    assert play.close.usage == Usage(prompt_tokens=2, completion_tokens=1)
