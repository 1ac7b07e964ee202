"""Canaries over real sockets: what a node sees of them, what they cost, who is found by them."""

from __future__ import annotations

import json
from random import Random

import pytest
from msgspec import structs
from served import configuration, eventually, serve

from gateway.canaries.canaries import Canaries, Result
from gateway.canaries.config import CanariesConfig
from gateway.nodes.upstream import Upstream
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
SETTINGS = CanariesConfig(node_interval_s=0)


class Bench:
    """Canaries of one model over fake nodes, `n0` being trusted if `trusted`."""

    def __init__(self, nodes: list[FakeNode], *, trusted: bool = False, **settings: float) -> None:
        registry = Registry()
        records = [
            NodeRecord(
                node_id=f"n{index}",
                supplier_id=f"s{index}",
                url=node.url,
                model="fake",
                capacity=4,
                trusted=trusted and index == 0,
            )
            for index, node in enumerate(nodes)
        ]
        registry.update("test", records)
        self.router = Router(registry, Policy(), Random(1))
        self.upstream = Upstream({}, {})
        self.told: list[tuple[str, str]] = []
        self.gaps: list[tuple[str, float]] = []
        self.canaries = Canaries(
            CanariesConfig(**{"node_interval_s": 0, **settings}),
            router=self.router,
            upstream=self.upstream,
            models=["fake"],
            count=lambda *seen: self.told.append(seen),
            measure=lambda *seen: self.gaps.append(seen),
            request_id=lambda: "req_000000000000000000000001",
            rng=Random(2),
        )

    async def rounds(self, count: int) -> list[dict[str, Result]]:
        try:
            return [await self.canaries.round("fake") for _ in range(count)]
        finally:
            self.upstream.close()

    def scores(self) -> dict[str, int]:
        return {f"n{index}": self.router.score(f"n{index}") for index in range(len(self._ids()))}

    def _ids(self) -> list[str]:
        return [view.node.node_id for view in self.router.nodes(0)]


async def test_honest_nodes_pass():
    async with FakeNode() as one, FakeNode() as two, FakeNode() as three:
        bench = Bench([one, two, three])
        for results in await bench.rounds(3):
            assert set(results.values()) == {Result.PASSED}
        assert min(bench.scores().values()) > 950
        assert all(node.engine.running == 0 for node in (one, two, three))


@pytest.mark.parametrize("fault", [Fault(other_model=True), Fault(logprob_shift=0.4)])
async def test_another_model_is_below_the_bound_after_two_rounds(fault):
    async with FakeNode() as one, FakeNode() as two, FakeNode() as liar:
        await liar.inject(fault)
        bench = Bench([one, two, liar])
        rounds = await bench.rounds(2)
        assert [each["n2"] for each in rounds] == [Result.FAILED] * 2
        scores = bench.scores()
        assert scores["n2"] < 900 < scores["n0"]
        assert len(liar.received) == 4, "each failure is confirmed by a second question"
        if fault.logprob_shift:
            liars = [gap for node_id, gap in bench.gaps if node_id == "n2"]
            assert liars == pytest.approx([fault.logprob_shift] * 4)
            assert {gap for node_id, gap in bench.gaps if node_id != "n2"} == {0.0}


async def test_a_trusted_node_settles_it_where_there_are_only_two():
    async with FakeNode() as own, FakeNode() as liar:
        await liar.inject(Fault(other_model=True))
        bench = Bench([own, liar], trusted=True)
        await bench.rounds(2)
        assert bench.scores()["n1"] < 900 < bench.scores()["n0"]


async def test_of_two_that_differ_neither_is_blamed():
    async with FakeNode() as one, FakeNode() as liar:
        await liar.inject(Fault(other_model=True))
        bench = Bench([one, liar])
        (results,) = await bench.rounds(1)
        assert set(results.values()) == {Result.DISPUTED}
        assert min(bench.scores().values()) > 950


async def test_one_answer_that_differs_is_not_enough():
    async with FakeNode() as one, FakeNode() as two, FakeNode() as unlucky:
        await unlucky.inject(Fault(other_model=True, requests=1))
        bench = Bench([one, two, unlucky])
        results = await bench.rounds(2)
        assert [each["n2"] for each in results] == [Result.UNSURE, Result.PASSED]


async def test_who_does_not_answer_is_not_called_a_liar():
    async with FakeNode() as one, FakeNode() as two, FakeNode() as broken:
        await broken.inject(Fault(status=500))
        bench = Bench([one, two, broken])
        (results,) = await bench.rounds(1)
        assert results["n2"] is Result.UNANSWERED
        assert bench.scores()["n2"] > 950


async def test_nobody_is_asked_more_often_than_agreed():
    async with FakeNode() as one, FakeNode() as two, FakeNode() as three:
        bench = Bench([one, two, three], node_interval_s=3600)
        assert [len(results) for results in await bench.rounds(3)] == [3, 0, 0]


async def test_a_node_that_is_half_full_is_left_alone():
    async with FakeNode() as one, FakeNode() as two, FakeNode() as three:
        bench = Bench([one, two, three])
        features = RequestFeatures(
            model="fake", prompt_tokens=1, completion_tokens_max=1, stream=False
        )
        for _ in range(2):
            bench.router.start(bench.router.choose(features, 0, frozenset({"n1", "n2"})))
        (results,) = await bench.rounds(1)
        assert set(results) == {"n1", "n2"}


async def test_a_gateway_with_the_section_asks_by_itself(tmp_path):
    async with FakeNode() as one, FakeNode() as two:
        asks = structs.replace(SETTINGS, interval_s=1)
        config = structs.replace(configuration([one, two], node="trusted = false\n"), canaries=asks)
        async with serve(tmp_path, config) as served:
            await eventually(
                lambda: served.metric("tollgate_canaries_total", result="passed"),
                lambda told: told >= 2,
                within_s=30,
            )
            assert await served.metric("tollgate_canary_gaps_total", within="0.002")


async def test_a_node_sees_no_difference_and_nobody_pays(tmp_path):
    text_nodes = [FakeNode(), FakeNode(), FakeNode()]
    async with text_nodes[0] as one, text_nodes[1] as two, text_nodes[2] as three:
        config = configuration([one, two, three])
        async with serve(tmp_path, config) as served:
            body = {"model": "fake", "messages": [{"role": "user", "content": "hello there"}]}
            asked = {"temperature": 0, "logprobs": True, "top_logprobs": 3, "max_tokens": 24}
            answer = await served.client.post("/v1/chat/completions", json=body | asked)
            assert answer.status_code == 200
            real = next(node for node in (one, two, three) if node.received).received[0]
            bench = Bench([one, two, three])
            await bench.rounds(1)
            canary = one.received[-1]
            await served.charges(1)
            with served.ledger() as ledger:
                assert len(list(ledger.charges())) == 1
        assert canary.path == real.path
        assert list(canary.headers) == list(real.headers)
        assert canary.headers.keys() == real.headers.keys()
        told = json.loads(canary.body)
        assert told["cache_salt"] != json.loads(real.body)["cache_salt"]
        assert set(told) <= {*json.loads(real.body), "max_completion_tokens", "stream",
                             "stream_options"}  # fmt: skip
