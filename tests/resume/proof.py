"""Rounds of greedy streams in which an engine is killed, held against what was said before."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
from served import Served, configuration, eventually, serve

from metering.charge import ChargeRecord

from .engines import Engine, engines

CHAT = "/v1/chat/completions"
TOKENS = 400
AT_ONCE = 32
CAPACITY = 256
"""Of which so few requests are a small part: a session stays where it is, however they spread."""
SPREAD_S = 1.0
"""The streams of a round begin within so long, so that a kill meets each at another token."""
QUESTIONS = (
    "What is a gateway?",
    "what is a replica",
    "Tell me what a prefix cache is.",
    "What is vLLM?",
    "Hello!",
    "Who pays the suppliers?",
    "how does the ledger work?",
    "What is a token?",
)
PARTS = ("server", "core")
CREDIT_USD = "100"
WAIT_S = 120


class Asked(msgspec.Struct):
    """One stream as its client saw it."""

    question: str
    session_id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    request_id: str = ""
    text: str = ""
    usages: list[dict[str, Any]] = []
    ids: set[str] = msgspec.field(default_factory=set)
    done: bool = False
    error: str = ""
    gap_s: float = 0.0
    """The longest silence."""


class Report(msgspec.Struct):
    rounds: int = 0
    asked: int = 0
    broken: int = 0
    """Streams that another node went on with."""
    before_first: int = 0
    """Requests that an engine had when it was killed, and of which it had said nothing."""
    places: set[int] = msgspec.field(default_factory=set)
    """Tokens after which they were broken."""
    killed: Counter[str] = msgspec.field(default_factory=Counter)
    gap_s: float = 0.0
    """The longest silence of a stream in a round with a kill."""
    seconds: float = 0.0
    failures: list[str] = []


async def prove(
    folder: Path,
    streams: int,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
    *,
    unheard: int = 0,
) -> Report:
    """Rounds until so many streams were broken, or one was not as it had to be. In each an engine
    is killed that has `unheard` requests of which it has said nothing.
    """
    report, rng, began_s = Report(), random.Random(seed), time.monotonic()
    async with engines(folder) as made:
        config = configuration(made, capacity=CAPACITY)  # type: ignore[arg-type]
        async with serve(folder, config, credit_usd=CREDIT_USD) as served:
            timeout = httpx.Timeout(120)
            served.client.timeout = timeout
            unbroken = [await _ask(served, Asked(question=each)) for each in QUESTIONS]
            texts = {each.question: each.text for each in unbroken}
            _check(report, unbroken, texts, await served.charges(len(unbroken)))
            while report.broken < streams and not report.failures:
                if report.rounds:
                    await _again(served, made[(report.rounds - 1) % 2])
                await _round(served, made, rng, report, texts, unheard)
                tell(
                    f"round {report.rounds}: {report.broken} streams broken, "
                    f"{report.before_first} before their first byte, longest silence "
                    f"{report.gap_s:.2f} s, failed: {len(report.failures)}"
                )
            with served.ledger() as ledger:
                if not ledger.verify().ok:
                    report.failures.append("the books do not add up")
    report.seconds = time.monotonic() - began_s
    return report


async def _round(
    served: Served,
    made: list[Engine],
    rng: random.Random,
    report: Report,
    texts: dict[str, str],
    unheard: int,
) -> None:
    victim, part = made[report.rounds % 2], PARTS[report.rounds // 2 % 2]
    sessions = await _sessions(served, victim, unheard)
    before = len(await served.charges(1))
    seen = [Asked(question=rng.choice(QUESTIONS)) for _ in range(AT_ONCE)]
    asking = [asyncio.create_task(_ask(served, each, rng.uniform(0, SPREAD_S))) for each in seen]
    characters = rng.uniform(0.05, 0.5) * sum(len(texts[each.question]) for each in seen)
    await eventually(
        lambda: sum(len(each.text) for each in seen),
        lambda heard: heard >= characters,
        within_s=WAIT_S,
    )
    sent_again = await _sent_again(served)
    if sessions:
        victim.halt()
        late = [Asked(question=rng.choice(QUESTIONS), session_id=each) for each in sessions]
        asking += [asyncio.create_task(_ask(served, each)) for each in late]
        await eventually(victim.unread, lambda count: count >= len(late))
    victim.kill(part)
    answers = await asyncio.gather(*asking)
    report.rounds += 1
    report.killed[part] += 1
    report.gap_s = max(report.gap_s, *(each.gap_s for each in answers))
    charges = await _charges_of(served, before, answers)
    _check(report, answers, texts, charges)
    sent_again = await _sent_again(served) - sent_again
    report.before_first += sent_again
    if sent_again < len(sessions):
        report.failures.append(f"only {sent_again} of {len(sessions)} were sent again")


async def _sent_again(served: Served) -> int:
    """Requests that another node answered, because one failed before the first byte."""
    failovers = await served.metric("tollgate_failovers_total")
    return int(failovers - await served.metric("tollgate_resumes_total"))


async def _sessions(served: Served, engine: Engine, count: int) -> list[str]:
    """Sessions that this engine has served, whose next request it is sent too."""
    begun = [Asked(question=QUESTIONS[0]) for _ in range(count)]
    await asyncio.gather(*(_ask(served, each, only=engine.supplier_id) for each in begun))
    return [each.session_id for each in begun]


async def _charges_of(served: Served, before: int, answers: list[Asked]) -> list[ChargeRecord]:
    """Once every request has its last."""
    wanted = {each.request_id for each in answers}
    deadline = time.monotonic() + 20
    while True:
        charges = (await served.charges(before))[before:]
        ended = {charge.request_id for charge in charges if charge.outcome != "resumed"}
        if wanted <= ended or time.monotonic() > deadline:
            return charges
        await asyncio.sleep(0.05)


async def _again(served: Served, engine: Engine) -> None:
    """Start what was killed. It was ejected: a trial shows that it lives."""
    await engine.end()
    engine.begin()
    await engine.serves()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        await asyncio.gather(*(_ask(served, Asked(question=each)) for each in QUESTIONS))
        if await served.metric("tollgate_node_state", node=engine.node_id, state="ready"):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{engine.node_id} is not used again")


def _check(
    report: Report, answers: list[Asked], texts: dict[str, str], charges: list[ChargeRecord]
) -> None:
    for each in answers:
        own = [charge for charge in charges if charge.request_id == each.request_id]
        resumed = [charge for charge in own if charge.outcome == "resumed"]
        report.asked += 1
        report.broken += bool(resumed)
        report.places |= {charge.completion_tokens for charge in resumed}
        fault = _fault(each, texts[each.question], own)
        if fault:
            report.failures.append(f"{each.request_id} ({each.question}): {fault}")


def _fault(asked: Asked, text: str, charges: list[ChargeRecord]) -> str:
    if asked.error or not asked.done:
        return f"ended in {asked.error or 'silence'!r} after {len(asked.text)} characters"
    if asked.text != text:
        return f"said {asked.text!r}, not {text!r}"
    if len(asked.ids) != 1 or len(asked.usages) != 1:
        return f"{len(asked.ids)} ids, {len(asked.usages)} usages"
    (usage,) = asked.usages
    told = (usage["prompt_tokens"], usage["completion_tokens"])
    paid = (
        sum(charge.prompt_tokens for charge in charges),
        sum(charge.completion_tokens for charge in charges),
    )
    if told != paid or told[1] != TOKENS:
        return f"told {told}, charged {paid}"
    if [charge.outcome for charge in charges][-1:] != ["completed"]:
        return f"outcomes {[charge.outcome for charge in charges]}"
    if len({charge.node_id for charge in charges}) != len(charges):
        return "a node was charged for twice"
    return ""


async def _ask(
    served: Served, asked: Asked, after_s: float = 0.0, only: str | None = None
) -> Asked:
    """`only`: by this supplier's nodes."""
    await asyncio.sleep(after_s)
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": asked.question}],
        "max_tokens": TOKENS,
        # what follows an answer's end: text that it goes on with, or tokens without any
        **({"min_tokens": TOKENS} if asked.question.endswith("?") else {"ignore_eos": True}),
        "session_id": asked.session_id,
        **({"provider": {"only": [only]}} if only else {}),
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    heard_s = time.monotonic()
    async with served.client.stream("POST", CHAT, json=body) as answer:
        asked.request_id = answer.headers["x-request-id"]
        if answer.status_code != 200:
            asked.error = (await answer.aread()).decode()
            return asked
        async for line in answer.aiter_lines():
            if not line.startswith("data: "):
                continue
            now_s = time.monotonic()
            asked.gap_s, heard_s = max(asked.gap_s, now_s - heard_s), now_s
            _take(asked, line[6:])
    return asked


def _take(asked: Asked, data: str) -> None:
    if data == "[DONE]":
        asked.done = True
        return
    event = json.loads(data)
    if "error" in event:
        asked.error = event["error"]["message"]
        return
    asked.ids.add(event["id"])
    if event.get("usage"):
        asked.usages.append(event["usage"])
    for choice in event["choices"]:
        asked.text += choice["delta"].get("content") or ""
