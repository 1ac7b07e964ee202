"""Deliver simulated answers over a wire in vLLM's form, at the engine's pace, with faults."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from serving import vllm_wire
from serving.fake_faults import Fault
from serving.fake_http import Wire
from serving.simulated_engine import Choice, Pace, SimulatedEngine, Token
from serving.vllm_request import Job
from serving.vllm_wire import Answer, Json, Usage


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Some tokens of one choice that are due at one time."""

    due_s: float
    index: int
    tokens: tuple[Token, ...]
    count: int
    """Tokens of the choice with these."""
    finished: bool


class _CutError(Exception):
    """The answer ends here: a fault says so."""


class Generation:
    """One request while it runs."""

    def __init__(
        self,
        engine: SimulatedEngine,
        pace: Pace,
        fault: Fault,
        job: Job,
        answer: Answer,
        wire: Wire,
    ) -> None:
        self._engine = engine
        self._pace = pace
        self._fault = fault
        self._job = job
        self._answer = answer
        self._wire = wire
        self._events = 0
        self._cached = sum(engine.prefill(prompt, job.n) for prompt in job.prompts)
        self._choices = [
            engine.generate(
                prompt,
                tokens_max=tokens_max,
                seed=job.seed,
                index=index,
                stop=job.stop,
                ignore_eos=job.ignore_eos,
            )
            for prompt, tokens_max in zip(job.prompts, job.tokens_max, strict=True)
            for index in range(job.n)
        ]
        self._made = [0] * len(self._choices)

    async def run(self, tokens_per_event: int) -> None:
        """Answer the request. Cancelled when the client leaves."""
        with self._running():
            if not self._job.stream:
                await self._whole()
                return
            with suppress(_CutError):
                await self._stream(tokens_per_event)

    async def _whole(self) -> None:
        for delivery in self._deliveries(1):
            await self._make(delivery)
        choices = [self._padded(choice) for choice in self._choices]
        message = self._answer.whole(choices, self._job.prompts, self._total())
        if self._fault.omit_usage:
            del message["usage"]
        await self._wire.json(200, message)

    async def _stream(self, tokens_per_event: int) -> None:
        await self._wire.head(200, "text/event-stream; charset=utf-8")
        opened = False
        for delivery in self._deliveries(tokens_per_event):
            await self._make(delivery)
            if not opened and self._job.chat:
                for index in range(len(self._choices)):
                    prompt = self._prompt(index)
                    await self._send(self._answer.opening(index, prompt, self._usage(index, 0)))
            await self._send(self._part(delivery))
            opened = True
        if self._job.include_usage and not self._fault.omit_usage:
            await self._send(self._answer.closing(self._total().closing(chat=self._job.chat)))
        await self._cut_if_due()
        await self._wire.chunk(vllm_wire.DONE)
        await self._wire.end()

    def _deliveries(self, tokens_per_event: int) -> Iterator[Delivery]:
        """Yield all tokens in the order that they come, choices taking turns."""
        longest = max(len(choice.tokens) for choice in self._choices)
        for start in range(0, longest, tokens_per_event):
            for index, choice in enumerate(self._choices):
                end = min(start + tokens_per_event, len(choice.tokens))
                if start < end:
                    yield Delivery(
                        due_s=self._pace.due_s(end),
                        index=index,
                        tokens=choice.tokens[start:end],
                        count=end,
                        finished=end == len(choice.tokens),
                    )

    async def _make(self, delivery: Delivery) -> None:
        """Wait until the tokens are due, then count them."""
        now_s = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self._started_s + delivery.due_s - now_s))
        self._engine.generation_tokens += len(delivery.tokens)
        self._made[delivery.index] = delivery.count

    def _part(self, delivery: Delivery) -> Json:
        choice = self._choices[delivery.index]
        text = "".join(token.text for token in delivery.tokens)
        first = delivery.count == len(delivery.tokens)
        return self._answer.part(
            delivery.index,
            text + self._padding() if first else text,
            [token.id for token in delivery.tokens],
            choice if delivery.finished else None,
            self._usage(delivery.index, delivery.count),
            self._prompt(delivery.index) if first else None,
        )

    async def _send(self, message: Json) -> None:
        await self._cut_if_due()
        await self._wire.chunk(vllm_wire.event(message))
        self._events += 1

    async def _cut_if_due(self) -> None:
        fault = self._fault
        if self._events == fault.reset_after_events:
            self._wire.reset()
        elif self._events == fault.end_after_events:
            self._wire.close()
        elif self._events == fault.stall_after_events:
            self._wire.flush()
            await asyncio.get_running_loop().create_future()
        elif self._events == fault.error_after_events:
            error = json.dumps(vllm_wire.error(500, "Internal server error"))
            await self._wire.chunk(f"data: {error}\n\n".encode() + vllm_wire.DONE)
            await self._wire.end()
        else:
            return
        raise _CutError

    def _usage(self, index: int, count: int) -> Json | None:
        """Return the running usage of a choice, if it goes with each event."""
        if not self._job.continuous_usage or self._fault.omit_running_usage:
            return None
        usage = Usage(
            prompt=self._fault.reported_prompt(len(self._prompt(index))),
            completion=self._fault.reported(count),
        )
        return usage.running(chat=self._job.chat)

    def _total(self) -> Usage:
        return Usage(
            prompt=self._fault.reported_prompt(sum(len(prompt) for prompt in self._job.prompts)),
            completion=self._fault.reported(sum(self._made)),
            cached=self._cached,
        )

    def _prompt(self, index: int) -> list[int]:
        return self._job.prompts[index // self._job.n]

    def _padding(self) -> str:
        return "x" * self._fault.body_bytes

    def _padded(self, choice: Choice) -> Choice:
        first, *others = choice.tokens
        tokens = (Token(first.id, first.text + self._padding()), *others)
        return Choice(tokens, choice.finish_reason, choice.stop_reason)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Count the choices as running requests, and how each of them ended."""
        self._started_s = asyncio.get_running_loop().time()
        self._engine.running += len(self._choices)
        try:
            yield
        finally:
            self._engine.running -= len(self._choices)
            for made, choice in zip(self._made, self._choices, strict=True):
                whole = made == len(choice.tokens)
                self._engine.finished[choice.finish_reason if whole else "abort"] += 1
