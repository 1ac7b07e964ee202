"""One world: requests of a trace come in, a router chooses, engines serve, nodes fail.

A discrete-event simulation on a virtual clock. The router in it is the gateway's own; it is told
what a gateway would see, when a gateway would see it.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from router.registry import Registry
from router.router import Lease, Router
from router.simulator.engine import Run
from router.simulator.job import BLOCK_TOKENS, Job
from router.simulator.outcome import Outcome
from router.simulator.site import Site
from router.types import Load, RequestFeatures, Termination

ATTEMPTS_MAX = 3
SCRAPE_NS = 1_000_000_000
STALL_NS = 60_000_000_000
"""How long a gateway waits for the next token."""
SILENT_NS = 5_000_000_000
"""After so long without one it sends the node less."""
MODEL = "sim"
_JITTER = 0.05
_NONE: frozenset[str] = frozenset()


class Chance(Protocol):
    """`random.Random` has it."""

    def random(self) -> float:
        """Return a draw from [0, 1)."""
        ...

    def expovariate(self, lambd: float, /) -> float:
        """Return a draw from the exponential distribution."""
        ...


class Checks(Protocol):
    """What a gateway finds out about nodes beside serving."""

    def answered(self, site: Site, job: Job, now_ns: int) -> None:
        """A whole answer came from there."""
        ...

    def tick(self, now_ns: int) -> None:
        """Now and then."""
        ...


class _Request:
    """A job on its way: which nodes it was tried on, and what the gateway holds of it."""

    __slots__ = ("attempts", "job", "lease", "run", "site", "tried", "ttft_ns")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.tried = _NONE
        self.attempts = 0
        self.lease: Lease | None = None
        self.site: Site | None = None
        self.run: Run | None = None
        self.ttft_ns: int | None = None


class World:
    """`chance` draws the network's jitter. Run once."""

    def __init__(self, sites: Sequence[Site], chance: Chance) -> None:
        self.sites = {site.record.node_id: site for site in sites}
        self.registry = Registry()
        self.now_ns = 0
        self.job: Job | None = None
        """What a node is being chosen for."""
        self.outcomes: dict[int, Outcome] = {}
        self._chance = chance
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._open = 0

    def run(
        self,
        jobs: Sequence[Job],
        router: Router,
        done: Callable[[int], None] | None = None,
        checks: Checks | None = None,
    ) -> list[Outcome]:
        """The outcomes in the order of `jobs`, which are in order of arrival. `done` hears of
        how many have ended, now and then.
        """
        self._router = router
        self._checks = checks
        self._open = len(jobs)
        self._list()
        for site in self.sites.values():
            self._schedule(site)
        for job in jobs:
            self._at(job.arrival_ns, self._choose, _Request(job))
        self._at(SCRAPE_NS, self._scrape)
        told = 0
        while self._open:
            self.now_ns, _, event, arguments = heappop(self._events)
            event(*arguments)
            if done is not None and len(self.outcomes) - told >= 100:
                told = len(self.outcomes)
                done(told)
        return [self.outcomes[job.job_id] for job in jobs]

    # -- the gateway --

    def _choose(self, request: _Request) -> None:
        job = self.job = request.job
        features = RequestFeatures(
            model=MODEL,
            prompt_tokens=job.prompt_tokens,
            completion_tokens_max=4096,
            stream=True,
            blocks=job.blocks,
            block_tokens=BLOCK_TOKENS,
        )
        decision = self._router.choose(features, self.now_ns, request.tried)
        if decision.node is None:
            self._end(request, None)
            return
        request.lease = self._router.start(decision)
        request.attempts += 1
        request.tried |= {decision.node.node_id}
        site = request.site = self.sites[decision.node.node_id]
        site.requests += 1
        site.in_transit_tokens += job.prompt_tokens
        self._at(self.now_ns + self._one_way_ns(site), self._reach, request)

    def _first_token(self, request: _Request, lease: Lease) -> None:
        if lease.finished:
            return
        lease.first_token(self.now_ns)
        request.ttft_ns = self.now_ns - request.job.arrival_ns

    def _answered(self, request: _Request, lease: Lease) -> None:
        job = request.job
        if lease.finish(Termination.COMPLETED, self.now_ns, request.ttft_ns, job.output_tokens):
            self._end(request, self.now_ns - job.arrival_ns)
            if self._checks is not None and request.site is not None:
                self._checks.answered(request.site, job, self.now_ns)

    def _lost(self, request: _Request, lease: Lease, termination: Termination) -> None:
        """The gateway sees the connection refused or reset."""
        if not lease.finish(termination, self.now_ns, request.ttft_ns):
            return
        if request.ttft_ns is None and request.attempts < ATTEMPTS_MAX:
            self._choose(request)
        else:
            self._end(request, None)

    def _end(self, request: _Request, e2e_ns: int | None) -> None:
        job, run = request.job, request.run
        self._open -= 1
        self.outcomes[job.job_id] = Outcome(
            job=job,
            node_id=None if request.site is None else request.site.record.node_id,
            ttft_ns=request.ttft_ns,
            e2e_ns=e2e_ns,
            cached_tokens=0 if run is None else run.cached_tokens,
            attempts=request.attempts,
        )

    def _scrape(self) -> None:
        for site in self.sites.values():
            if site.alive:
                engine = site.engine
                load = Load(
                    waiting=0 if site.lies else engine.waiting_count,
                    running=0 if site.lies else engine.running_count,
                    kv_use=0.0 if site.lies else engine.kv_use,
                    kv_tokens=engine.gpu.kv_tokens,
                    cache_tokens=engine.gpu.cache_tokens,
                )
                self._router.report_load(site.record.node_id, load)
        if self._checks is not None:
            self._checks.tick(self.now_ns)
        self._at(self.now_ns + SCRAPE_NS, self._scrape)

    def _list(self) -> None:
        listed = [
            site.record
            for site in self.sites.values()
            if not any(start <= self.now_ns < end for start, end in site.away)
        ]
        self.registry.update("world", listed)

    # -- the nodes --

    def _reach(self, request: _Request) -> None:
        site, lease = request.site, request.lease
        assert site is not None
        assert lease is not None
        site.in_transit_tokens -= request.job.prompt_tokens
        if not site.alive:
            back = self.now_ns + self._one_way_ns(site)
            self._at(back, self._lost, request, lease, Termination.CONNECT_ERROR)
            return
        request.run = Run(request.job, request)
        site.engine.arrive(request.run, self.now_ns)
        self._planned(site)

    def _step(self, site: Site, version: int) -> None:
        if version != site.version:
            return
        firsts, ended = site.engine.step_done(self.now_ns)
        for run in firsts:
            site.served_tokens += run.job.prompt_tokens + run.job.output_tokens
            self._tell(site, run, self._first_token)
        for run in ended:
            stalls = site.habit.stalls
            if stalls and self._chance.random() < stalls:
                self._stall(run)
            else:
                self._tell(site, run, self._answered)
        self._planned(site)

    def _tell(self, site: Site, run: Run, event: Callable[[_Request, Lease], None]) -> None:
        request = run.owner
        assert isinstance(request, _Request)
        assert request.lease is not None
        self._at(self.now_ns + site.rtt_ns // 2, event, request, request.lease)

    def _stall(self, run: Run) -> None:
        """Its end never comes: the gateway waits as long as it waits for any."""
        request = run.owner
        assert isinstance(request, _Request)
        assert request.lease is not None
        self._at(self.now_ns + SILENT_NS, request.lease.silent, True)
        until_ns = self.now_ns + STALL_NS
        self._at(until_ns, self._lost, request, request.lease, Termination.TIMEOUT)

    def _planned(self, site: Site) -> None:
        site.version += 1
        if site.engine.step_end_ns is not None:
            self._at(site.engine.step_end_ns, self._step, site, site.version)

    def _schedule(self, site: Site) -> None:
        for start_ns, end_ns in site.down:
            self._at(start_ns, self._die, site)
            self._at(end_ns, self._revive, site)
        for start_ns, end_ns in site.away:
            self._at(start_ns, self._list)
            self._at(end_ns, self._list)

    def _die(self, site: Site) -> None:
        site.alive = False
        site.version += 1
        for run in site.engine.die():
            request = run.owner
            assert isinstance(request, _Request)
            assert request.lease is not None
            back = self.now_ns + site.rtt_ns // 2
            self._at(back, self._lost, request, request.lease, Termination.BROKEN)

    def _revive(self, site: Site) -> None:
        site.alive = True

    # -- time --

    def _at(self, when_ns: int, event: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heappush(self._events, (when_ns, self._count, event, arguments))

    def _one_way_ns(self, site: Site) -> int:
        return int(site.rtt_ns * (0.5 + _JITTER * self._chance.expovariate(1.0)))
