"""What must hold of pools, part by part. Each returns figures, and raises AssertionError."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from served import Served

from serving.model_files import DEMO_MODEL, DEMO_MODEL_NAME

from .clients import Crowd
from .stand import POOL, UNTIL_S, Stand, client_of, model, pool

Figures = dict[str, float | int | str]
Part = Callable[[Stand, Served], Awaitable[Figures]]

STEADY, BURST, NIGHTLY, SECOND = "steady-h100", "burst-a100", "nightly-a100", "nightly-rtx4090"
ROLLED_MS = 40
STREAM_TOKENS = 60


def models(steady_token_ms: int = 50, *, vllm: bool = False) -> tuple[str, ...]:
    """Two replicas on two machines; one to three; one or none, on either of two classes."""
    simulated = (
        model("steady", pool("h100", 2, 2, steady_token_ms)),
        model("burst", pool("a100", 1, 3)),
        model("nightly", pool("a100", 0, 1), pool("rtx4090", 0, 1)),
    )
    demo = POOL.format(gpu_class="cpu", least=0, most=1, more="")
    return (*simulated, *([model(DEMO_MODEL_NAME, demo, path=str(DEMO_MODEL))] if vllm else []))


async def placement(stand: Stand, _served: Served) -> Figures:
    """Replicas land on machines that have their class's label; to apply again changes nothing."""
    began_s = time.monotonic()
    created = await stand.changes()
    assert set(created) == {"created"}, created
    took_s = time.monotonic() - began_s
    landed = {app: await stand.where(app) for app in (STEADY, BURST)}
    assert [name[:-2] for name in landed[STEADY]] == ["h100", "h100"], landed
    assert [name[:-2] for name in landed[BURST]] == ["a100"], landed
    assert (await stand.pools())[NIGHTLY].target == 0, "nobody asked for it yet"
    assert await stand.owners() == {
        ("steady", "h100", "H100", "alice"),
        ("burst", "a100", "A100", "bob"),
    }
    before = await stand.pools()
    again = await stand.changes()
    assert again == {"unchanged": created["created"]}, again
    assert await stand.pools() == before
    return {
        "pools": len(before),
        "applied, s": round(took_s, 1),
        "steady on": " ".join(landed[STEADY]),
    }


async def autoscaling(stand: Stand, served: Served) -> Figures:
    """Load adds replicas, its end removes them, and no client sees either."""
    crowd = Crowd(client_of(served), "burst", tokens=40)
    crowd.start(12, streams=0.75)
    up_s = await stand.until("two more", lambda pools: pools[BURST].running == 3)
    assert {name[:-2] for name in await stand.where(BURST)} == {"a100"}
    answers = await crowd.stop()
    down_s = await stand.until("one is left", lambda pools: pools[BURST].running == 1)
    assert not crowd.errors, crowd.errors
    return {
        "1 to 3 replicas, s": round(up_s, 1),
        "3 to 1, s": round(down_s, 1),
        "answers meanwhile": len(answers),
    }


async def waking(stand: Stand, served: Served) -> Figures:
    """A model at zero answers its first request; the replica goes again; who would rather be
    refused is.
    """
    await stand.until("nobody is there", lambda pools: pools[NIGHTLY].running == 0)
    await stand.until_unlisted(served, "nightly")
    impatient = client_of(served, stand.impatient_key())
    refused = await impatient.ask("nightly", "hello", 5)
    assert refused.status == 429, refused
    assert int(refused.headers["retry-after"]) >= 1, refused
    patient = client_of(served)
    asked = (patient.ask("nightly", "hello", 5), patient.ask("nightly", "hello", 5, stream=False))
    streamed, whole = await asyncio.gather(*asked)
    assert not streamed.error, streamed
    assert not whole.error, whole
    assert streamed.text == whole.text
    silent_s = streamed.first_s - 2 * streamed.keep_alives
    assert silent_s < 2, "it was silent while the model started"
    down_s = await stand.until("it sleeps", lambda pools: pools[NIGHTLY].running == 0)
    await stand.until_unlisted(served, "nightly")
    again = await patient.ask("nightly", "hello", 5, stream=False)
    assert again.text == whole.text, again
    assert (await stand.pools())[SECOND].running == 0, "one pool was enough"
    return {
        "first word from zero, s": round(streamed.first_s, 1),
        "keep-alives": streamed.keep_alives,
        "asleep again, s": round(down_s, 1),
        "whole answer from zero, s": round(again.whole_s, 1),
    }


async def rolling(stand: Stand, served: Served) -> Figures:
    """An update of the engine under streams: every replica is another one, and none broke."""
    pools = await stand.pools()
    before = {replica.replica_id for replica in pools[STEADY].replicas}
    crowd = Crowd(client_of(served), "steady", STREAM_TOKENS)
    crowd.start(stand.streams)
    await _under_way(crowd)
    stand.configure(*models(ROLLED_MS, vllm=f"{DEMO_MODEL_NAME}-cpu" in pools))
    began_s = time.monotonic()
    assert await stand.changes() == {"rolled": 1, "unchanged": len(pools) - 1}
    took_s = time.monotonic() - began_s
    answers = await crowd.stop()
    after = {replica.replica_id for replica in (await stand.pools())[STEADY].replicas}
    assert not before & after, (before, after)
    assert not crowd.errors, crowd.errors[:3]
    return {
        "streams at once": stand.streams,
        "rolled, s": round(took_s, 1),
        "streams": len(answers),
        "broken": 0,
    }


async def lost_node(stand: Stand, served: Served) -> Figures:
    """A machine dies under load: no client sees it, and its replica comes up elsewhere."""
    victim = (await stand.where(STEADY))[0]
    crowd = Crowd(client_of(served), "steady", STREAM_TOKENS)
    crowd.start(10, streams=0.5)
    await _under_way(crowd)
    began_s = time.monotonic()
    stand.cluster.kill(victim)
    await stand.until("it is missed", lambda pools: pools[STEADY].running < 2)
    await stand.until("it is replaced", lambda pools: pools[STEADY].running == 2)
    took_s = time.monotonic() - began_s
    assert victim not in await stand.where(STEADY)
    answers = await crowd.stop()
    assert not crowd.errors, crowd.errors[:3]
    return {"replaced, s": round(took_s, 1), "answers": len(answers), "errors seen": 0}


async def real_engine(stand: Stand, served: Served) -> Figures:
    """vLLM itself, woken from zero by a request that waits for it."""
    demo = await client_of(served).ask(DEMO_MODEL_NAME, "What is a gateway?", 30)
    assert not demo.error, demo
    assert await stand.running(f"{DEMO_MODEL_NAME}-cpu") == 1
    return {"first word from zero, s": round(demo.first_s, 1), "keep-alives": demo.keep_alives}


async def _under_way(crowd: Crowd) -> None:
    """Until the first of them was answered, when all were asked long ago."""
    deadline = time.monotonic() + UNTIL_S
    while not crowd.answers:
        assert time.monotonic() < deadline, "nobody was answered"
        await asyncio.sleep(0.05)
