"""Worlds with liars in them: who is found, after how many requests, and who is wrongly.

    honest      thirteen of sixteen: one five times slower than its kind, one that dies now and then
    stalls      5% of its streams stop in the middle
    inflates    it claims 10% more tokens than it generated
    smaller     it serves another model than it says

Stalls are seen as they are by a gateway. The checks of claims and models are not made here but
drawn: with what they find, and how often they are wrong, as was measured of the real ones.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from router.conduct import Conducts
from router.policy import Policy, learned_policy
from router.reputation import BOUND, Evidence
from router.router import Router
from router.simulator.gpu_class import CLASSES
from router.simulator.job import BLOCK_TOKENS, Job
from router.simulator.site import HONEST, Habit, Site
from router.simulator.world import MODEL, World
from router.types import NodeRecord

WITHIN = 200
"""Requests in which a liar is to be below the bound."""
NODES = 16
LIARS = {
    "stalls": Habit(stalls=0.05),
    "inflates": Habit(inflates=0.1),
    "smaller": Habit(serves_smaller=True),
}
SLOW, DYING = "honest-slow", "honest-dying"
_ALL_ANSWERS = 200
_ONE_IN = 100
_COUNT_WRONG = 0.0005
"""Of honest answers: 0 of 1,984 were found wanting (docs/honesty.md)."""
_CANARY_TICKS = 10
_CANARY_FINDS = 0.95**2
_CANARY_WRONG = 0.002**2
"""Each failure is one of two prompts in a row."""
_S = 10**9


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one node."""

    node_id: str
    habit: Habit
    requests: int
    """That it was sent."""
    below_after: int | None
    """Requests after which it was below the bound first; None: never."""
    score: int

    @property
    def in_time(self) -> bool:
        return self.below_after is not None and self.below_after <= WITHIN


class DrawnChecks:
    """A `world.Checks`."""

    def __init__(self, router: Router, sites: Sequence[Site], chance: Random) -> None:
        self._router = router
        self._sites = sites
        self._chance = chance
        self._answers = dict.fromkeys((site.record.node_id for site in sites), 0)
        self._ticks = 0
        self.below_after: dict[str, int] = {}

    def answered(self, site: Site, job: Job, now_ns: int) -> None:
        node_id, chance = site.record.node_id, self._chance
        self._answers[node_id] += 1
        if self._answers[node_id] <= _ALL_ANSWERS or chance.random() < 1 / _ONE_IN:
            added = site.habit.inflates * job.output_tokens
            wrong = added > 2 + 0.05 * job.output_tokens or chance.random() < _COUNT_WRONG
            kind = Evidence.COUNT_FAILED if wrong else Evidence.COUNT_PASSED
            self._router.report(node_id, kind, now_ns)

    def tick(self, now_ns: int) -> None:
        """Once a second; each node has its own turn for a canary."""
        self._ticks += 1
        for number, site in enumerate(self._sites):
            if (self._ticks + number) % _CANARY_TICKS == 0 and site.alive:
                finds = _CANARY_FINDS if site.habit.serves_smaller else _CANARY_WRONG
                failed = self._chance.random() < finds
                kind = Evidence.CANARY_FAILED if failed else Evidence.CANARY_PASSED
                self._router.report(site.record.node_id, kind, now_ns)
        self._router.refresh_reputations(now_ns)
        for site in self._sites:
            conduct = self._router.conducts.known(site.record.node_id)
            if conduct is not None and conduct.score < BOUND:
                self.below_after.setdefault(site.record.node_id, site.requests)


def trial(seed: int, *, requests: int, policy: str = "tollgate") -> list[Found]:
    """One world. The same arguments give the same."""
    chance = Random(f"trust {seed}")
    jobs = _jobs(requests, chance)
    sites = _sites(jobs[-1].arrival_ns, chance)
    world = World(sites, Random(seed))
    chooses = learned_policy() if policy == "tollgate" else Policy()
    router = Router(world.registry, chooses, Random(seed + 1), conducts=Conducts())
    checks = DrawnChecks(router, sites, chance)
    world.run(jobs, router, checks=checks)
    return [_found(site, router, checks) for site in sites]


def _found(site: Site, router: Router, checks: DrawnChecks) -> Found:
    node_id = site.record.node_id
    conduct = router.conducts.known(node_id)
    assert conduct is not None
    return Found(
        node_id=node_id,
        habit=site.habit,
        requests=site.requests,
        below_after=checks.below_after.get(node_id),
        score=conduct.score,
    )


def _jobs(requests: int, chance: Random) -> list[Job]:
    now_ns, jobs = 0, []
    for number in range(requests):
        now_ns += int(chance.expovariate(10.0) * _S)
        jobs.append(
            Job(
                job_id=number,
                arrival_ns=now_ns,
                prompt_tokens=int(chance.lognormvariate(6.0, 1.0)) + 1,
                output_tokens=min(int(chance.lognormvariate(4.8, 0.8)) + 1, 2_000),
                blocks=(),
            )
        )
    return jobs


def _sites(end_ns: int, chance: Random) -> list[Site]:
    """Each of another supplier: what one does is no other's to answer for."""
    habits = {number: (name, habit) for number, (name, habit) in enumerate(LIARS.items())}
    sites = []
    for number in range(NODES):
        gpu = chance.choice(CLASSES)
        name, habit = habits.get(number, (f"honest-{number}", HONEST))
        slow: tuple[tuple[int, int, float], ...] = ()
        down: tuple[tuple[int, int], ...] = ()
        if number == len(LIARS):
            name, slow = SLOW, ((0, end_ns * 10, 5.0),)
        elif number == len(LIARS) + 1:
            name, down = (
                DYING,
                tuple((at_ns, at_ns + 15 * _S) for at_ns in range(20 * _S, end_ns, 240 * _S)),
            )
        record = NodeRecord(
            node_id=name,
            supplier_id=f"supplier-{number}",
            url="http://sim",
            model=MODEL,
            capacity=gpu.batch_max,
            gpu=gpu.name,
            block_size=BLOCK_TOKENS,
        )
        rtt_ns = int(chance.uniform(2.0, 80.0) * 1e6)
        sites.append(Site(record, gpu, rtt_ns, slow=slow, down=down, habit=habit))
    return sites
