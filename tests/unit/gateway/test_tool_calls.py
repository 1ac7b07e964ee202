"""Tool calls, judged as OpenRouter judges them, and the process that does it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from unit.gateway.test_exchange import Play

from gateway.openai.request import Endpoint, read
from gateway.scorecard import tool_checks
from gateway.scorecard.rules import ToolEnd
from gateway.scorecard.tool_calls import judge
from gateway.scorecard.tool_checks import ToolChecks
from gateway.scorecard.tool_job import Job

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: dict[str, Any] = {"weather": WEATHER, "now": None}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2}
Calls = list[tuple[str, str]]


def whole(calls: Calls, finish: str = "tool_calls") -> bytes:
    told = [
        {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": told}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": USAGE}).encode()


def streamed(calls: Calls, finish: str = "tool_calls") -> bytes:
    """Arguments a character an event, after the name, as vLLM sends them."""
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    for index, (name, arguments) in enumerate(calls):
        deltas.append({"tool_calls": [{"index": index, "id": "c", "function": {"name": name}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in arguments
        ]
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    events.append({"choices": [], "usage": USAGE})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return (": keep-alive\n\n" + "".join(lines) + "data: [DONE]\n\n").encode()


CASES = [
    ([("weather", '{"city": "Paris"}')], ToolEnd.VALID),
    ([("weather", '{"city": "日本", "days": 2}'), ("now", "{}")], ToolEnd.VALID),
    ([("now", "[]")], ToolEnd.VALID),
    ([("weather", '{"city": "Par')], ToolEnd.INVALID_JSON),
    ([("weather", "")], ToolEnd.INVALID_JSON),
    ([("weather", "{'city': 1}")], ToolEnd.INVALID_JSON),
    ([("weather", '{"city": NaN}')], ToolEnd.INVALID_JSON),
    ([("whether", '{"city": "Paris"}')], ToolEnd.UNKNOWN_NAME),
    ([("weather", "{}")], ToolEnd.SCHEMA_MISMATCH),
    ([("weather", '{"city": 3}')], ToolEnd.SCHEMA_MISMATCH),
    ([("weather", '{"city": "P", "days": 0}')], ToolEnd.SCHEMA_MISMATCH),
    ([("weather", '{"city": "P", "more": 0}')], ToolEnd.SCHEMA_MISMATCH),
    ([("weather", '{"city": "P"}'), ("weather", "{}")], ToolEnd.SCHEMA_MISMATCH),
    ([("now", "{}"), ("then", "{}")], ToolEnd.UNKNOWN_NAME),
]


@pytest.mark.parametrize(("calls", "verdict"), CASES)
def test_one_bad_call_makes_a_bad_answer(calls: Calls, verdict: ToolEnd) -> None:
    assert judge(Job(tools=TOOLS, answer=whole(calls), stream=False)) is verdict
    assert judge(Job(tools=TOOLS, answer=streamed(calls), stream=True)) is verdict


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_what_did_not_finish_with_calls_is_not_judged(finish: str) -> None:
    bad = [("whether", "{")]
    assert judge(Job(tools=TOOLS, answer=whole(bad, finish), stream=False)) is None
    assert judge(Job(tools=TOOLS, answer=streamed(bad, finish), stream=True)) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/definitions/missing"},
        {"type": "strnig"},
        {"pattern": "("},
    ],
)
def test_a_schema_that_cannot_be_used_accuses_nobody(schema: dict[str, Any]) -> None:
    job = Job(tools={"f": schema}, answer=whole([("f", "{}")]), stream=False)
    assert judge(job) is ToolEnd.UNCHECKED


def test_pydantics_schemas_with_definitions_are_understood() -> None:
    schema = {
        "$defs": {"City": {"type": "object", "required": ["name"]}},
        "properties": {"city": {"$ref": "#/$defs/City"}},
    }
    for arguments, verdict in (
        ('{"city": {"name": "P"}}', ToolEnd.VALID),
        ('{"city": {}}', ToolEnd.SCHEMA_MISMATCH),
    ):
        job = Job(tools={"f": schema}, answer=whole([("f", arguments)]), stream=False)
        assert judge(job) is verdict


def doubling(levels: int) -> dict[str, Any]:
    """A schema that takes 2 to the levels steps."""
    definitions: dict[str, Any] = {
        f"d{level}": {"allOf": [{"$ref": f"#/definitions/d{level + 1}"}] * 2}
        for level in range(levels)
    }
    definitions[f"d{levels}"] = {"type": "object"}
    return {"definitions": definitions, "allOf": [{"$ref": "#/definitions/d0"}]}


def asked(tools: list[Any], *, stream: bool = True, **more: Any) -> Play:
    """An exchange of a request with tools."""
    play = Play(stream=stream)
    fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    body = json.dumps({**fields, "tools": tools, **more}).encode()
    play.exchange.question = read(Endpoint.CHAT, body)
    return play


class Bench:
    def __init__(self) -> None:
        self.told: list[ToolEnd] = []
        self._more = asyncio.Event()
        self.checks = ToolChecks(self._count)

    def _count(self, model: str, end: ToolEnd) -> None:
        assert model == "m"
        self.told.append(end)
        self._more.set()

    def end(
        self, answer: bytes, schema: dict[str, Any] | None = None, stream: bool = False
    ) -> None:
        """A request with a tool `f` that was answered so."""
        function: dict[str, Any] = {"name": "f"}
        if schema is not None:
            function["parameters"] = schema
        tools = [{"type": "function", "function": function}]
        play = asked(tools, stream=stream)
        assert play.exchange.question.offers_tools
        play.exchange.sample = self.checks.sample()
        play.opened().head().body(answer).node_end().closed()
        self.checks.ended(play.exchange)

    def judged(self, count: int) -> list[ToolEnd]:
        async def until() -> None:
            running = asyncio.ensure_future(self.checks.run())
            async with asyncio.timeout(20):
                while len(self.told) < count:
                    self._more.clear()
                    await self._more.wait()
            running.cancel()
            await asyncio.wait([running])

        asyncio.run(until())
        return self.told


GOOD = [("f", '{"a": 1}')]
WANTS_A = {"type": "object", "required": ["a"]}


def test_answers_are_judged_beside_the_loop_and_give_their_room_back() -> None:
    bench = Bench()
    room = bench.checks._room.left
    bench.end(whole(GOOD), WANTS_A)
    bench.end(streamed(GOOD), WANTS_A, stream=True)
    bench.end(whole([("f", "{}")]), WANTS_A)
    bench.end(whole(GOOD, "stop"), WANTS_A)
    bench.end(whole([("g", "{}")]))
    assert bench.judged(4) == [
        ToolEnd.VALID,
        ToolEnd.VALID,
        ToolEnd.SCHEMA_MISMATCH,
        ToolEnd.UNKNOWN_NAME,
    ]
    assert bench.checks._room.left == room


def test_a_schema_that_takes_for_ever_ends_its_own_process_only() -> None:
    bench = Bench()
    bench.end(whole(GOOD), doubling(60))
    bench.end(whole(GOOD), WANTS_A)
    began_s = time.monotonic()
    assert bench.judged(2) == [ToolEnd.UNCHECKED, ToolEnd.VALID]
    assert time.monotonic() - began_s < tool_checks.JUDGE_TIMEOUT_S + 10


def test_what_comes_too_fast_is_not_checked_and_said_so() -> None:
    bench = Bench()
    for _ in range(tool_checks.QUEUE_MAX + 3):
        bench.end(whole(GOOD), WANTS_A)
    assert bench.told == [ToolEnd.UNCHECKED] * 3


def test_an_answer_too_large_to_keep_is_not_checked() -> None:
    bench = Bench()
    bench.end(whole([("f", json.dumps({"a": "x" * 2**20}))]), WANTS_A)
    assert bench.told == [ToolEnd.UNCHECKED]


def test_an_answer_that_was_cut_is_not_judged() -> None:
    bench = Bench()
    room = bench.checks._room.left
    tools = [{"type": "function", "function": {"name": "f"}}]
    play = asked(tools)
    play.exchange.sample = bench.checks.sample()
    play.opened().head().body(streamed(GOOD)[:200])
    play.exchange.client_gone(play.tick())
    bench.checks.ended(play.exchange)
    assert bench.told == []
    assert not bench.checks._queue
    assert bench.checks._room.left == room


def test_only_requests_that_may_be_answered_with_calls_are_kept() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert not Play().exchange.question.offers_tools
    assert not asked(tools, tool_choice="none").exchange.question.offers_tools
    assert asked(tools, tool_choice="auto").exchange.question.offers_tools
