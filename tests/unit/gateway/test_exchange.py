"""The exchange, played event by event: no socket, no clock, every way a request can end."""

from __future__ import annotations

import json
import random

import pytest

from gateway.exchange.actions import Dial, Drop, End, HangUp, Record, Respond, Send
from gateway.exchange.exchange import Exchange
from gateway.exchange.state import State
from gateway.openai.request import Endpoint, read
from gateway.timeouts import Timeouts
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge
from metering.prices import ModelPrice
from metering.usage import Usage, UsageSource
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures, Termination

PRICE = ModelPrice(
    version="1", prompt_nano_usd=200, cached_prompt_nano_usd=100, completion_nano_usd=600
)
ANSWER = (
    b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":7,"completion_tokens":2}}'
)
DONE = b"data: [DONE]\n\n"
CLOSING = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'


def event(text: str, completion: int | None) -> bytes:
    figures = b""
    if completion is not None:
        figures = (
            b',"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":%d}' % completion
        )
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]%b}\n\n' % (
        text.encode(),
        figures,
    )


class Play:
    """One exchange over real router and pure parts; gathers the actions by kind."""

    def __init__(
        self, *, stream: bool = True, nodes: int = 2, engine: str = "vllm", endpoint=Endpoint.CHAT
    ) -> None:
        registry = Registry()
        registry.update(
            "test",
            [
                NodeRecord(
                    node_id=f"n{i}",
                    supplier_id=f"s{i}",
                    url=f"http://127.0.0.1:{9000 + i}",
                    model="m",
                    capacity=4,
                    engine=engine,
                )
                for i in range(nodes)
            ],
        )
        self.router = Router(registry, Policy(), random.Random(1))
        if endpoint is Endpoint.EMBEDDINGS:
            body = b'{"model":"m","input":"hi"}'
        else:
            fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            body = json.dumps({**fields, "stream": stream}).encode()
        question = read(endpoint, body)
        features = RequestFeatures(
            model="m", prompt_tokens=9, completion_tokens_max=50, stream=stream
        )
        charge = OpenCharge(
            charge_id="c1",
            request_id="r1",
            account="acme",
            key_id="k1",
            model="m",
            price=PRICE,
            hold_nano_usd=100_000,
            prompt_tokens_estimate=9,
            created_ns=1_000,
        )
        self.exchange = Exchange(
            charge,
            question,
            body,
            decision=self.router.choose(features, 0),
            router=self.router,
            timeouts=Timeouts(),
            estimate=lambda _, text: Usage(prompt_tokens=5, completion_tokens=len(text)),
        )
        self.actions: list = []
        self.now_ns = 10
        self.do(self.exchange.start(self.now_ns))

    def do(self, actions: list) -> list:
        self.actions += actions
        return actions

    def opened(self) -> Play:
        if self.of(Record)[0].awaited:
            self.do(self.exchange.durable(None, self.tick()))
        return self

    def closed(self) -> Play:
        self.do(self.exchange.durable(None, self.tick()))
        return self

    def head(self, status: int = 200) -> Play:
        self.exchange.node_head(status, self.tick())
        return self

    def body(self, *chunks: bytes) -> Play:
        for chunk in chunks:
            passed = self.exchange.node_body(chunk, self.tick())
            self.do([Send(passed)] if isinstance(passed, bytes) else passed)
        return self

    def node_end(self) -> Play:
        self.do(self.exchange.node_end(self.tick()))
        return self

    def failed(self, termination: Termination = Termination.CONNECT_ERROR) -> Play:
        self.do(self.exchange.node_failed(termination, self.tick()))
        return self

    def tick(self) -> int:
        self.now_ns += 1_000
        return self.now_ns

    def of(self, kind: type) -> list:
        return [action for action in self.actions if type(action) is kind]

    @property
    def sent(self) -> bytes:
        return b"".join(action.data for action in self.of(Send))

    @property
    def close(self) -> CloseCharge:
        (row,) = [a.row for a in self.of(Record) if isinstance(a.row, CloseCharge)]
        return row

    @property
    def in_flight(self) -> int:
        return sum(view.in_flight for view in self.router.nodes(self.now_ns))


def test_stream_is_relayed_without_what_metering_asked_for():
    play = Play().opened().head().body(event("a", 1), event("b", 3), CLOSING + DONE).node_end()
    assert play.sent == event("a", None) + event("b", None)
    assert play.exchange.state is State.SETTLING
    play.closed()
    assert play.sent == event("a", None) + event("b", None) + DONE
    assert play.exchange.state is State.ENDED
    assert play.close.outcome is ChargeOutcome.COMPLETED
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert play.close.usage_source is UsageSource.NODE
    assert play.in_flight == 0


def test_node_is_asked_for_running_usage():
    (dial,) = Play().of(Dial)
    asked = json.loads(dial.body)
    assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    (dial,) = Play(engine="openai").of(Dial)
    assert json.loads(dial.body)["stream_options"] == {"include_usage": True}


def test_nothing_leaves_before_the_opening_row_is_durable():
    play = Play().head().body(event("a", 1))
    assert not play.of(Respond)
    play.opened()
    assert [a.status for a in play.of(Respond)] == [200]
    assert play.sent == event("a", None)


def test_last_line_waits_for_both_rows_even_if_the_node_was_faster_than_the_disk():
    play = Play().head().body(event("a", 3), CLOSING + DONE).node_end()
    assert not play.of(Respond)
    play.opened()
    assert play.sent == event("a", None)
    play.closed()
    assert play.sent.endswith(DONE)
    assert play.of(End)


def test_whole_answer_waits_for_its_charge_alone():
    play = Play(stream=False)
    assert [record.awaited for record in play.of(Record)] == [False]
    play.head().body(ANSWER[:20], ANSWER[20:]).node_end()
    assert not play.of(Respond)
    assert [record.awaited for record in play.of(Record)] == [False, True]
    play.closed()
    (respond,) = play.of(Respond)
    assert (respond.status, respond.body) == (200, ANSWER)
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=2)


def test_client_leaving_pays_for_what_was_generated():
    play = Play().opened().head().body(event("a", 1), event("b", 2))
    play.do(play.exchange.client_gone(play.tick()))
    assert play.of(HangUp)
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=2)
    assert play.close.usage_source is UsageSource.COUNTED
    assert play.exchange.state is State.ENDED
    assert play.in_flight == 0
    assert play.exchange.node_body(event("c", 3), play.tick()) == []
    assert play.exchange.durable(None, play.tick()) == []


def test_client_leaving_before_the_first_token_pays_nothing():
    play = Play().opened()
    play.do(play.exchange.client_gone(play.tick()))
    assert play.close.usage is None


def test_client_leaving_while_settling_changes_nothing():
    play = Play().opened().head().body(event("a", 3), CLOSING + DONE)
    assert play.exchange.client_gone(play.tick()) == []
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=3)


def test_connect_error_goes_to_the_next_node():
    play = Play().opened().failed()
    first, second = play.of(Dial)
    assert first.node.node_id != second.node.node_id
    play.head().body(event("a", 3), CLOSING, DONE).closed()
    assert play.sent.endswith(DONE)
    assert play.close.node_id == second.node.node_id
    assert play.in_flight == 0


def test_break_before_the_first_event_goes_to_the_next_node():
    play = Play().opened().head().failed(Termination.BROKEN)
    assert len(play.of(Dial)) == 2
    assert not play.of(Respond)


def test_all_nodes_unreachable_is_429_and_free():
    play = Play(nodes=2).opened().failed().failed().closed()
    (respond,) = play.of(Respond)
    assert respond.status == 429
    assert dict(respond.headers)[b"retry-after"]
    assert play.close.usage is None
    assert play.close.outcome is ChargeOutcome.NO_CAPACITY
    assert play.exchange.state is State.ENDED


def test_break_in_the_stream_tells_the_client_and_charges_what_was_delivered():
    play = Play().opened().head().body(event("a", 1), event("b", 2)).failed(Termination.BROKEN)
    assert play.close.outcome is ChargeOutcome.NODE_BROKEN
    assert play.close.usage == Usage(prompt_tokens=7, completion_tokens=2)
    play.closed()
    assert b'"finish_reason":"error"' in play.sent
    assert b"[DONE]" not in play.sent
    assert len(play.of(Dial)) == 1


def test_error_event_in_the_stream_is_free():
    error = b'data: {"error":{"message":"engine died","code":500}}\n\n'
    play = Play().opened().head().body(event("a", 1), error).closed()
    assert play.close.outcome is ChargeOutcome.NODE_ERROR
    assert play.close.usage is None
    assert b"engine died" not in play.sent
    assert b'"finish_reason":"error"' in play.sent
    assert play.of(HangUp)


def test_error_event_first_goes_to_the_next_node():
    error = b'data: {"error":{"message":"engine died","code":500}}\n\n'
    assert len(Play().opened().head().body(error).of(Dial)) == 2


FAULT = (
    b'data: {"error":{"message":"grammar is bad","type":"BadRequestError",'
    b'"param":"structured_outputs","code":400}}\n\n'
)


def test_clients_fault_told_in_a_stream_is_a_plain_refusal_if_nothing_was_sent():
    play = Play().opened().head().body(FAULT).closed()
    (respond,) = play.of(Respond)
    error = json.loads(respond.body)["error"]
    assert (respond.status, error["param"]) == (400, "structured_outputs")
    assert error["type"] == "invalid_request_error"
    assert len(play.of(Dial)) == 1
    assert play.close.outcome is ChargeOutcome.REFUSED_BY_NODE
    assert play.close.usage is None


def test_clients_fault_told_in_a_stream_that_began_is_told_there():
    play = Play().opened().head().body(event("a", 1), FAULT).closed()
    told = json.loads(play.sent.split(b"data: ")[-1])
    assert told["object"] == "chat.completion.chunk"
    assert {"id", "created", "model"} < set(told)
    (choice,) = told["choices"]
    assert choice["finish_reason"] == "error"
    assert told["error"]["code"] == 400
    assert told["error"]["metadata"]["error_type"] == "invalid_request"
    assert play.close.outcome is ChargeOutcome.REFUSED_BY_NODE
    assert play.close.usage is None


@pytest.mark.parametrize(
    ("status", "body", "told", "code"),
    [
        (
            404,
            b'{"error":{"message":"The model `m` does not exist. Valid aliases: secret.",'
            b'"type":"NotFoundError","param":"model","code":404}}',
            404,
            "model_not_found",
        ),
        (404, b'{"detail":"Not Found"}', 400, "unsupported_endpoint"),
        (501, b'{"error":{"message":"The model does not support Score API"}}', 400, None),
        (404, b"<html>", 500, "upstream_error"),
        (401, b'{"error":"Unauthorized"}', 500, "upstream_error"),
    ],
)
def test_what_no_node_serves_is_said_without_the_nodes_words(status, body, told, code):
    play = Play().opened()
    for _ in range(2):
        play.head(status).body(body).node_end()
    play.closed()
    (respond,) = play.of(Respond)
    error = json.loads(respond.body)["error"]
    assert respond.status == told
    assert code in (None, error["code"])
    assert "secret" not in error["message"]
    assert play.close.usage is None


def test_how_long_it_took_is_told():
    play = Play(stream=False).opened().head().body(ANSWER).node_end().closed()
    (respond,) = play.of(Respond)
    headers = dict(respond.headers)
    assert headers[b"openai-processing-ms"].isdigit()


def test_nulls_that_openai_never_sends_are_left_out():
    text = '{\\"annotations\\":null} ,\\"function_call\\":null'
    answer = (
        '{"choices":[{"message":{"content":"%s","annotations":null,"function_call":null}}],"usage":'
        '{"prompt_tokens":7,"completion_tokens":2,"completion_tokens_details":null}}' % text
    ).encode()
    play = Play(stream=False).opened().head().body(answer).node_end().closed()
    (respond,) = play.of(Respond)
    told = json.loads(respond.body)
    assert told["choices"][0]["message"] == {"content": text.replace("\\", "")}
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}


def test_overloaded_node_goes_to_the_next_and_then_429():
    play = Play().opened()
    for _ in range(2):
        play.head(503).body(b'{"error":{"message":"busy"}}').node_end()
    play.closed()
    assert [a.status for a in play.of(Respond)] == [429]


def test_engine_failure_everywhere_is_500_and_free():
    play = Play().opened()
    for _ in range(2):
        play.head(500).body(b"oops").node_end()
    play.closed()
    assert [a.status for a in play.of(Respond)] == [429] or play.close.outcome in (
        ChargeOutcome.NODE_ERROR,
        ChargeOutcome.NO_CAPACITY,
    )
    assert play.close.usage is None


def test_nodes_refusal_of_the_request_is_translated_and_not_repeated():
    refusal = json.dumps(
        {
            "error": {
                "message": "This model's maximum context length is 2048 tokens. However, your "
                "prompt contains 3000. (parameter=input_tokens, value=3000)",
                "type": "BadRequestError",
                "param": "input_tokens",
                "code": 400,
            }
        }
    ).encode()
    play = Play().opened().head(400).body(refusal).node_end().closed()
    (respond,) = play.of(Respond)
    error = json.loads(respond.body)["error"]
    assert respond.status == 400
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert "parameter=" not in error["message"]
    assert len(play.of(Dial)) == 1
    assert play.close.outcome is ChargeOutcome.REFUSED_BY_NODE


def test_silent_node_is_given_up_after_its_deadline():
    play = Play().opened()
    assert play.exchange.deadline_ns is not None
    play.do(play.exchange.expired(play.exchange.deadline_ns))
    assert play.of(HangUp)
    assert len(play.of(Dial)) == 2


def test_client_that_stops_reading_is_dropped_and_charged():
    play = Play().opened().head().body(event("a", 1))
    play.exchange.client_slow(play.tick())
    play.do(play.exchange.expired(play.exchange.deadline_ns))
    assert play.of(Drop)
    assert play.close.outcome is ChargeOutcome.CLIENT_GONE


def test_garbage_from_the_node_is_its_failure():
    play = Play().opened().head().body(event("a", 1), b'data: {"usage" nonsense\n\n').closed()
    assert play.close.outcome is ChargeOutcome.NODE_ERROR
    assert b'"finish_reason":"error"' in play.sent


def test_answer_without_a_token_is_free():
    empty = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":0}}\n\n'
    play = Play().opened().head().body(event("", 0), empty, DONE).closed()
    assert play.close.outcome is ChargeOutcome.EMPTY
    assert play.close.usage is None


def test_stream_without_usage_is_estimated_and_says_so():
    play = Play(engine="openai").opened().head()
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    play.body(event("abc", None), finish, DONE).closed()
    assert play.close.usage == Usage(prompt_tokens=5, completion_tokens=3)
    assert play.close.usage_source is UsageSource.ESTIMATED


def test_stream_that_ends_without_done_after_its_usage_is_whole():
    play = Play().opened().head().body(event("a", 3), CLOSING).node_end().closed()
    assert play.close.outcome is ChargeOutcome.COMPLETED
    assert play.sent.endswith(DONE)


def test_embeddings_are_charged_for_their_prompt():
    play = Play(endpoint=Endpoint.EMBEDDINGS).opened().head()
    play.body(b'{"data":[],"usage":{"prompt_tokens":4,"total_tokens":4}}').node_end().closed()
    assert play.close.usage == Usage(prompt_tokens=4)
    assert play.close.outcome is ChargeOutcome.COMPLETED


def test_progress_is_noted_densely_at_first():
    play = Play().opened().head()
    for count in range(1, 130):
        play.body(event("x", count))
    noted = [a.row for a in play.of(Record) if isinstance(a.row, ChargeProgress)]
    assert [row.usage.completion_tokens for row in noted] == [1, 2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("when", ["opening", "closing"])
def test_nothing_is_served_that_cannot_be_recorded(when):
    play = Play(stream=False)
    if when == "closing":
        play.opened().head().body(ANSWER).node_end()
    play.do(play.exchange.durable(OSError("disk full"), play.tick()))
    (respond,) = play.of(Respond)
    assert respond.status == 429
    assert play.exchange.state is State.ENDED
    assert play.in_flight == 0
    assert play.of(HangUp)


def test_stream_of_nothing_that_cannot_be_recorded_is_refused_with_a_head():
    play = Play().opened().head().body(DONE)
    play.do(play.exchange.durable(OSError("disk full"), play.tick()))
    (respond,) = play.of(Respond)
    assert (respond.status, play.of(Send)) == (429, [])
