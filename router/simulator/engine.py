"""A node's engine with continuous batching, as vLLM's: prompts in order and in chunks, every
running request one token a step, a prefix cache whose oldest blocks go first.

Simplified where it does not touch routing: a request waits until its whole answer has room in the
KV cache (no preemption), and blocks are inserted when a prompt is through.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from heapq import heappop, heappush

from router.simulator.gpu_class import GpuClass
from router.simulator.job import BLOCK_TOKENS, Job, held_tokens

_STEPS_AT_ONCE = 256
"""Decode steps taken as one event while nothing changes."""
_COMPUTED_AT_LEAST = 16
"""Prompt tokens that are computed even if all are cached."""


class Run:
    """One try of a job on one engine."""

    __slots__ = ("begun", "cached_tokens", "ends_at_step", "job", "left_tokens", "owner")

    def __init__(self, job: Job, owner: object) -> None:
        self.job = job
        self.owner = owner
        self.begun = False
        self.cached_tokens = 0
        self.left_tokens = job.prompt_tokens
        """Of the prompt, still to compute; until a step has begun with it: as it should be."""
        self.ends_at_step = 0


class Engine:
    """`slowness(now_ns)` stretches its steps: 1 for a node in good health."""

    def __init__(self, gpu: GpuClass, slowness: Callable[[int], float]) -> None:
        self.gpu = gpu
        self.slowness = slowness
        self.waiting: deque[Run] = deque()
        self.prefilling: deque[Run] = deque()
        self.running: list[tuple[int, int, Run]] = []
        self.cache: OrderedDict[int, None] = OrderedDict()
        self.kv_tokens = 0
        """Set aside for the admitted."""
        self.promised: Counter[int] = Counter()
        """Blocks that will be in the cache when the prompts before are through."""
        self.step_end_ns: int | None = None
        """When what it does now is done; None if it does nothing."""
        self._cache_blocks = gpu.cache_tokens // BLOCK_TOKENS
        self._step = 0
        self._plan_start_ns = 0
        self._plan_step_ns = 0
        self._plan_steps = 0
        self._plan_runs: list[Run] = []

    # -- what a scrape tells --

    @property
    def waiting_count(self) -> int:
        """Those that no step has begun with."""
        return len(self.waiting) + len(self.prefilling) - len(self._plan_runs)

    @property
    def running_count(self) -> int:
        return len(self.running) + len(self._plan_runs)

    @property
    def kv_use(self) -> float:
        return min(self.kv_tokens / self.gpu.kv_tokens, 1.0)

    # -- events --

    def arrive(self, run: Run, now_ns: int) -> None:
        run.left_tokens = self.to_compute(run.job)
        self._promise(run.job, 1)
        self.waiting.append(run)
        if self.step_end_ns is None:
            self._plan(now_ns)
        elif not self._plan_runs and self._plan_steps > 1:
            # A pure decode plan ends with the step it is in, so that the newcomer is let in.
            done = (now_ns - self._plan_start_ns) // self._plan_step_ns + 1
            if done < self._plan_steps:
                self._plan_steps = done
                self.step_end_ns = self._plan_start_ns + done * self._plan_step_ns

    def step_done(self, now_ns: int) -> tuple[list[Run], list[Run]]:
        """The planned steps are over: (whose first token came, who ended). Plans the next."""
        self._step += self._plan_steps
        firsts = [run for run in self._plan_runs if run.left_tokens == 0]
        ended: list[Run] = []
        for run in firsts:
            self.prefilling.popleft()
            self._remember(run.job)
            self._promise(run.job, -1)
            run.ends_at_step = self._step + run.job.output_tokens - 1
            heappush(self.running, (run.ends_at_step, run.job.job_id, run))
        while self.running and self.running[0][0] <= self._step:
            run = heappop(self.running)[2]
            self.kv_tokens -= run.job.prompt_tokens + run.job.output_tokens
            ended.append(run)
        self._plan(now_ns)
        return firsts, ended

    def die(self) -> list[Run]:
        """Lose everything; what was on it is returned."""
        lost = [*self.waiting, *self.prefilling, *(entry[2] for entry in self.running)]
        self.waiting.clear()
        self.prefilling.clear()
        self.running.clear()
        self.cache.clear()
        self.promised.clear()
        self.kv_tokens = 0
        self.step_end_ns = None
        self._plan_runs = []
        return lost

    # -- the clairvoyant's questions --

    def prompt_ns_ahead(self, now_ns: int) -> float:
        """How long until the engine has computed every prompt that it has."""
        tokens = sum(run.left_tokens for run in self.prefilling)
        tokens += sum(run.left_tokens for run in self.waiting)
        slowness = self.slowness(now_ns)
        started = 0.0 if self.step_end_ns is None else max(self._step_left_ns(now_ns), 0.0)
        return started + self.prompt_ns(tokens) * slowness if tokens else started

    def to_compute(self, job: Job) -> int:
        """Tokens of its prompt, once its turn comes."""
        held = 0
        for block in job.blocks:
            if block not in self.cache and block not in self.promised:
                break
            held += 1
        return max(job.prompt_tokens - held * BLOCK_TOKENS, _COMPUTED_AT_LEAST)

    def prompt_ns(self, tokens: int) -> float:
        """To compute so many tokens of prompts beside what runs now, in good health."""
        gpu = self.gpu
        steps = -(-tokens // gpu.chunk_tokens)
        return tokens * gpu.prefill_ns + steps * self.decode_step_ns(len(self.running))

    def decode_step_ns(self, running: int) -> int:
        return self.gpu.step_ns + running * self.gpu.step_ns_per_request

    @property
    def busy(self) -> bool:
        return self.step_end_ns is not None

    def ns_until_some_end(self) -> float:
        """Until the next of the running answers is through."""
        if not self.running:
            return 0.0
        steps = self.running[0][0] - self._step
        return max(steps, 1) * self.decode_step_ns(len(self.running))

    def has_room(self, job: Job) -> bool:
        """Whether it would be let in as soon as its turn comes."""
        ahead = sum(run.job.prompt_tokens + run.job.output_tokens for run in self.waiting)
        tokens = self.kv_tokens + ahead + job.prompt_tokens + job.output_tokens
        count = self.running_count + self.waiting_count + 1
        return tokens <= self.gpu.kv_tokens and count <= self.gpu.batch_max

    def _step_left_ns(self, now_ns: int) -> float:
        """Until the step under way is over."""
        assert self.step_end_ns is not None
        if self._plan_runs:
            return self.step_end_ns - now_ns
        return self._plan_step_ns - (now_ns - self._plan_start_ns) % self._plan_step_ns

    # -- one step after the other --

    def _plan(self, now_ns: int) -> None:
        self._admit()
        gpu = self.gpu
        budget = gpu.chunk_tokens
        self._plan_runs = []
        for run in self.prefilling:
            if not budget:
                break
            if not run.begun:
                self._begin(run)
            tokens = min(run.left_tokens, budget)
            run.left_tokens -= tokens
            budget -= tokens
            self._plan_runs.append(run)
        step_ns = self.decode_step_ns(len(self.running))
        self._plan_steps = 1
        if self._plan_runs:
            step_ns += (gpu.chunk_tokens - budget) * gpu.prefill_ns
        elif self.running:
            self._plan_steps = min(self.running[0][0] - self._step, _STEPS_AT_ONCE)
        else:
            self.step_end_ns = None
            return
        self._plan_start_ns = now_ns
        self._plan_step_ns = int(step_ns * self.slowness(now_ns))
        self.step_end_ns = now_ns + self._plan_steps * self._plan_step_ns

    def _admit(self) -> None:
        while self.waiting and len(self.running) + len(self.prefilling) < self.gpu.batch_max:
            run = self.waiting[0]
            job = run.job
            tokens = job.prompt_tokens + job.output_tokens
            if self.kv_tokens and self.kv_tokens + tokens > self.gpu.kv_tokens:
                return
            self.waiting.popleft()
            self.kv_tokens += tokens
            self.prefilling.append(run)

    def _begin(self, run: Run) -> None:
        job = run.job
        cached = held_tokens(job, self.cache)
        run.begun = True
        run.left_tokens = max(job.prompt_tokens - cached, _COMPUTED_AT_LEAST)
        run.cached_tokens = max(job.prompt_tokens - run.left_tokens, 0)
        for block in reversed(job.blocks[: cached // BLOCK_TOKENS]):
            self.cache.move_to_end(block)

    def _promise(self, job: Job, count: int) -> None:
        for block in job.blocks:
            self.promised[block] += count
            if not self.promised[block]:
                del self.promised[block]

    def _remember(self, job: Job) -> None:
        for block in reversed(job.blocks):  # a prompt's end goes before its beginning
            self.cache[block] = None
            self.cache.move_to_end(block)
        while len(self.cache) > self._cache_blocks:
            self.cache.popitem(last=False)
