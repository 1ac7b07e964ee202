"""The worlds that policies are compared in: who is there, what comes, what goes wrong.

Every world has the same four classes of GPU, each a quarter of the nodes: that a fleet of
independent owners is mixed is not a scenario but the rule.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from router.simulator.gpu_class import CLASSES
from router.simulator.job import BLOCK_TOKENS, Job, infinite_cache_hits
from router.simulator.site import Site
from router.simulator.world import MODEL
from router.types import NodeRecord

CONTEXT_TOKENS = 32_768
"""Longer prompts of a trace are cut to it."""
_REGIONS = ("eu", "us", "ap", "sa")
_SECOND_NS = 1_000_000_000


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    about: str
    load: float = 0.7
    """Requests come at this share of what the nodes can serve."""
    cached: float = 0.5
    """When the prefix caches have this share of what one cache without bounds would have."""
    burst: float = 1.0
    """In a quarter of the time requests come this many times as fast as on average."""
    rtt_ms: tuple[float, float] = (1.0, 4.0)
    straggling: float = 0.0
    """Share of the nodes that is slow at any time, others after a while."""
    failing: bool = False
    """Nodes die in turn, half of the times with all others of their supplier."""
    coming_and_going: bool = False
    """A quarter of the nodes leaves the list and comes back."""
    lying: float = 0.0
    """Share of the nodes whose counters say that they are idle."""
    concentrated: bool = False
    """Half of the nodes are of one supplier, the fastest among them."""
    shared_prompts: bool = False
    """Where the trace tells of no shared prefixes, they are drawn."""


SCENARIOS = {
    each.name: each
    for each in (
        Scenario(name="steady", about="70 % load, nodes nearby"),
        Scenario(
            name="bursty", about="1.9 times the mean rate in a quarter of the time", burst=1.9
        ),
        Scenario(name="wan", about="round trips of 5 to 250 ms", rtt_ms=(5.0, 250.0)),
        Scenario(
            name="stragglers", about="a tenth of the nodes 3 to 6 times slower", straggling=0.1
        ),
        Scenario(name="failures", about="nodes die and come back, some together", failing=True),
        Scenario(name="prefix-heavy", about="long shared prefixes", shared_prompts=True),
        Scenario(name="overload", about="120 % load", load=1.2, cached=1.0),
        Scenario(name="churn", about="nodes leave and join", coming_and_going=True),
        Scenario(
            name="concentrated",
            about="one supplier owns half of the nodes",
            load=0.5,
            concentrated=True,
        ),
        Scenario(name="liars", about="a quarter of the nodes claims to be idle", lying=0.25),
    )
}


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in one world. `sites` are used up by a run: a second run needs a second cast."""

    jobs: list[Job]
    sites: list[Site]
    infinite_hits: float
    """Of the jobs that are counted."""
    counted_from: int
    """The first of the jobs that is; those before warm everything up."""


def cast(scenario: Scenario, trace: Sequence[Job], *, seed: int, requests: int, nodes: int) -> Cast:
    """The same arguments make the same world. Raises ValueError if the trace has no jobs."""
    if not trace:
        raise ValueError("the trace has no requests")
    # Not Python's hash of a string, which differs from process to process.
    chance = Random(f"{scenario.name} {seed}")
    jobs = _window(trace, requests, chance)
    if scenario.shared_prompts and not any(job.blocks for job in jobs):
        jobs = _sharing(jobs, chance)
    counted_from = len(jobs) // 10
    hits = infinite_cache_hits(jobs, counted_from)
    jobs = _paced(jobs, scenario, nodes, infinite_cache_hits(jobs) * scenario.cached)
    end_ns = jobs[-1].arrival_ns
    return Cast(
        jobs=jobs,
        sites=_sites(scenario, nodes, end_ns, chance),
        infinite_hits=hits,
        counted_from=counted_from,
    )


def fair_shares(sites: Sequence[Site], jobs: Sequence[Job]) -> list[float]:
    """Of each node, by how many of such requests it could serve a second."""
    speeds = [_requests_per_s(site.engine.gpu.name, jobs, 0.0) for site in sites]
    return [speed / sum(speeds) for speed in speeds]


def _window(trace: Sequence[Job], requests: int, chance: Random) -> list[Job]:
    """So many jobs in a row, from anywhere in the trace, which goes round."""
    start = chance.randrange(len(trace))
    chosen = [trace[(start + number) % len(trace)] for number in range(requests)]
    jobs: list[Job] = []
    now_ns, last_ns = 0, chosen[0].arrival_ns
    for number, job in enumerate(chosen):
        now_ns += max(job.arrival_ns - last_ns, 0)
        last_ns = job.arrival_ns
        cut = min(job.prompt_tokens, CONTEXT_TOKENS)
        jobs.append(
            Job(
                job_id=number,
                arrival_ns=now_ns,
                prompt_tokens=max(cut, 1),
                output_tokens=max(job.output_tokens, 1),
                blocks=job.blocks[: -(-cut // BLOCK_TOKENS)],
            )
        )
    return jobs


def _sharing(jobs: list[Job], chance: Random) -> list[Job]:
    """Give three of four jobs one of 64 system prompts, the first of which are asked most."""
    prompts = [range(1_000 * n, 1_000 * n + chance.randint(2, 8)) for n in range(1, 65)]
    weights = [1 / rank for rank in range(1, 65)]
    shared: list[Job] = []
    for job in jobs:
        head = tuple(chance.choices(prompts, weights)[0]) if chance.random() < 0.75 else ()
        tokens = job.prompt_tokens + len(head) * BLOCK_TOKENS
        own = range(1_000_000 + job.job_id * 64, 1_000_000 + job.job_id * 64 + 64)
        blocks = (*head, *own[: job.prompt_tokens // BLOCK_TOKENS])
        shared.append(msgspec.structs.replace(job, prompt_tokens=tokens, blocks=blocks))
    return shared


def _paced(jobs: list[Job], scenario: Scenario, nodes: int, hits: float) -> list[Job]:
    """The trace's own gaps, stretched to the scenario's rate."""
    names = [CLASSES[number % len(CLASSES)].name for number in range(nodes)]
    capacity_rps = sum(_requests_per_s(name, jobs, hits) for name in names)
    span_ns = len(jobs) / (capacity_rps * scenario.load) * 1e9
    scale = span_ns / max(jobs[-1].arrival_ns, 1)
    return [
        msgspec.structs.replace(
            job, arrival_ns=int(_warped(job.arrival_ns * scale, scenario.burst))
        )
        for job in jobs
    ]


def _requests_per_s(name: str, jobs: Sequence[Job], hits: float) -> float:
    gpu = next(each for each in CLASSES if each.name == name)
    prompt_tokens = sum(job.prompt_tokens for job in jobs) / len(jobs) * (1 - hits)
    output_tokens = sum(job.output_tokens for job in jobs) / len(jobs)
    return gpu.requests_per_s(prompt_tokens, output_tokens)


def _warped(when_ns: float, burst: float, period_ns: float = 40e9) -> float:
    """Move an instant so that evenly spaced ones come `burst` times as dense in the first quarter
    of each period.
    """
    if burst == 1.0:
        return when_ns
    periods, within = divmod(when_ns, period_ns)
    dense = period_ns / 4 * burst
    if within < dense:
        moved = within / burst
    else:
        moved = period_ns / 4 + (within - dense) * (0.75 * period_ns) / (period_ns - dense)
    return periods * period_ns + moved


def _sites(scenario: Scenario, nodes: int, end_ns: int, chance: Random) -> list[Site]:
    suppliers = max(nodes // 3, 2)
    slow = _slow_episodes(scenario.straggling, nodes, end_ns, chance)
    down = _deaths(nodes, suppliers, end_ns, chance) if scenario.failing else {}
    liars = set(chance.sample(range(nodes), round(nodes * scenario.lying)))
    low, high = scenario.rtt_ms
    sites = []
    for number in range(nodes):
        gpu = CLASSES[number % len(CLASSES)]
        record = NodeRecord(
            node_id=f"{gpu.name}-{number}",
            supplier_id=_supplier(scenario, number, suppliers),
            url="http://sim",
            model=MODEL,
            capacity=gpu.batch_max,
            gpu=gpu.name,
            region=chance.choice(_REGIONS),
            block_size=BLOCK_TOKENS,
        )
        site = Site(
            record,
            gpu,
            int(low * (high / low) ** chance.random() * 1e6),
            slow=tuple(slow.get(number, ())),
            down=tuple(down.get(number, ())),
            away=_absence(number, end_ns) if scenario.coming_and_going and number % 4 == 1 else (),
            lies=number in liars,
        )
        sites.append(site)
    return sites


def _supplier(scenario: Scenario, number: int, suppliers: int) -> str:
    if scenario.concentrated and number % len(CLASSES) < len(CLASSES) // 2:
        return "supplier-big"
    return f"supplier-{number % suppliers}"


def _slow_episodes(
    share: float, nodes: int, end_ns: int, chance: Random
) -> dict[int, list[tuple[int, int, float]]]:
    episodes: dict[int, list[tuple[int, int, float]]] = {}
    length_ns = 45 * _SECOND_NS
    for start_ns in range(0, end_ns, length_ns) if share else ():
        for number in chance.sample(range(nodes), max(round(nodes * share), 1)):
            factor = chance.uniform(3.0, 6.0)
            episodes.setdefault(number, []).append((start_ns, start_ns + length_ns, factor))
    return episodes


def _deaths(
    nodes: int, suppliers: int, end_ns: int, chance: Random
) -> dict[int, list[tuple[int, int]]]:
    deaths: dict[int, list[tuple[int, int]]] = {}
    for turn, start_ns in enumerate(range(8 * _SECOND_NS, end_ns, 20 * _SECOND_NS)):
        first = chance.randrange(nodes)
        struck = [first] if turn % 2 else range(first % suppliers, nodes, suppliers)
        for number in struck:
            until_ns = start_ns + 15 * _SECOND_NS
            deaths.setdefault(number, []).append((start_ns, until_ns))
    return deaths


def _absence(number: int, end_ns: int) -> tuple[tuple[int, int], ...]:
    start_ns = end_ns * (1 + number % 5) // 10
    return ((start_ns, start_ns + end_ns // 4),)
