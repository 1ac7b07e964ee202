"""Which answers are sampled, and how each sample ends: judged, dropped, unreadable, forgotten."""

from __future__ import annotations

import asyncio
import random

import pytest
from unit.gateway.test_exchange import ANSWER, CLOSING, DONE, Play, event

from gateway.admission.catalogue import Catalogue
from gateway.config import ModelConfig
from gateway.exchange.sample import Sample
from gateway.honesty.findings import Findings
from gateway.honesty.recounts import ALL_ANSWERS, BATCH, BATCH_BYTES, QUEUE_MAX, Checked, Recounts
from metering.finding_store import FindingStore
from metering.sqlite_database import SqliteDatabase

MODEL = ModelConfig(
    id="m",
    context_tokens_max=100,
    prompt_usd_per_million="1",
    completion_usd_per_million="1",
)


class Bench:
    def __init__(self, tmp_path, one_in: int = 1, seed: int = 1) -> None:
        self.database = SqliteDatabase(tmp_path / "ledger.db")
        self.store = FindingStore(self.database)
        self.router = Play().router
        self.ended: list[tuple[str, str]] = []
        self._more = asyncio.Event()
        self.recounts = Recounts(
            one_in=one_in,
            catalogue=Catalogue((MODEL,)),
            findings=Findings(self.store, self.router, lambda *_: None),
            router=self.router,
            count=self._count,
            rng=random.Random(seed),
        )

    def play(self, *, stream: bool = True, node: str = "n0") -> Play:
        """An exchange whose answer is kept."""
        play = Play(stream=stream)
        play.exchange.sample = self.recounts.sample(node)
        return play

    def _count(self, *seen: str) -> None:
        self.ended.append(seen)
        self._more.set()

    @property
    def room_left(self) -> int:
        return self.recounts._room.left

    def judged(self, count: int) -> list[str]:
        """How the samples ended, once so many have."""

        async def until() -> None:
            running = asyncio.ensure_future(self.recounts.run())
            async with asyncio.timeout(10):
                while len(self.ended) < count:
                    self._more.clear()
                    await self._more.wait()
            running.cancel()

        asyncio.run(until())
        return [result for _, result in self.ended]


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.database.close()


def test_streamed_and_whole_answers_are_judged_and_give_their_room_back(bench):
    room = bench.room_left
    streamed = bench.play().opened().head().body(event("abc", 3), CLOSING, DONE).closed()
    bench.recounts.ended(streamed.exchange)
    whole = bench.play(stream=False).head().body(ANSWER).node_end().closed()
    bench.recounts.ended(whole.exchange)
    assert bench.room_left < room
    assert bench.judged(2) == [Checked.HONEST] * 2
    assert bench.room_left == room


def test_only_whole_answers_with_the_nodes_own_usage_are_judged(bench):
    room = bench.room_left
    cut = bench.play().opened().head().body(event("a", 3))
    cut.exchange.client_gone(9)
    bench.recounts.ended(cut.exchange)
    estimated = bench.play().opened().head().body(event("a", None), DONE).closed()
    bench.recounts.ended(estimated.exchange)
    assert bench.room_left == room
    assert not bench.recounts._queue


def test_another_nodes_bytes_are_forgotten(bench):
    play = bench.play(stream=False).head().body(b"not yet whole")
    assert play.exchange.sample.answer == b"not yet whole"
    play.failed().head().body(ANSWER).node_end().closed()
    assert play.exchange.sample.answer == ANSWER


def test_an_answer_that_cannot_be_read_is_said(bench):
    broken = b'data: {"choices":[{"index":0,"delta":{"content":1}}],"usage":{"x":1}}\n\n'
    play = bench.play().opened().head().body(event("a", 3), broken, CLOSING, DONE).closed()
    bench.recounts.ended(play.exchange)
    assert bench.judged(1) == [Checked.UNREADABLE]


def test_the_queue_is_bounded_and_what_is_dropped_is_counted(bench):
    under_way = [bench.play() for _ in range(QUEUE_MAX + 3)]
    for play in under_way:
        play.opened().head().body(event("abc", 3), CLOSING, DONE).closed()
        bench.recounts.ended(play.exchange)
    assert [result for _, result in bench.ended] == [Checked.DROPPED] * 3
    assert bench.play().exchange.sample is None  # nothing more is kept while so many wait
    assert bench.judged(QUEUE_MAX + 3).count(Checked.HONEST) == QUEUE_MAX


@pytest.mark.parametrize(("text", "together"), [("abc", BATCH), ("a" * BATCH_BYTES, 1)])
def test_short_answers_are_judged_together_and_long_ones_one_by_one(bench, text, together):
    for _ in range(BATCH + 1):
        play = bench.play().opened().head().body(event(text, 3), CLOSING, DONE).closed()
        bench.recounts.ended(play.exchange)
    assert len(bench.recounts._batch()) == together
    assert len(bench.recounts._queue) == BATCH + 1 - together


def test_the_first_answers_are_all_sampled_and_then_one_in_so_many(tmp_path):
    bench = Bench(tmp_path, one_in=50)
    first = [bench.recounts.sample("n0") for _ in range(ALL_ANSWERS)]
    assert all(isinstance(sample, Sample) for sample in first)
    later = [bench.recounts.sample("n0") is not None for _ in range(50_000)]
    assert 850 < sum(later) < 1150  # 1,000 and five standard deviations
    gaps = [later[i + 1] for i, sampled in enumerate(later[:-1]) if sampled]
    assert 0 < sum(gaps) < 60  # the next one is as likely as any
    bench.database.close()


def test_what_was_learned_of_a_node_goes_with_it(bench):
    bench.recounts.sample("n0")
    bench.recounts.sample("n1")
    bench.recounts.forget({"n1"})
    assert list(bench.recounts._nodes) == ["n1"]
