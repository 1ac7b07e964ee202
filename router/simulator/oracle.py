"""The clairvoyant: it sees into every engine, knows how long each answer will be, what is on its
way, which node is slow and which will die before it is through. No router can know that.

It is greedy: each request goes where it itself is best off, by the truth. What would be best for
all that are still to come it does not compute.
"""

from collections.abc import Sequence

from router.filters import Filter
from router.scorers import Scorer
from router.simulator.job import Job
from router.simulator.site import Site
from router.simulator.world import World
from router.types import Ask, NodeView


class Oracle:
    """`late_ns`: it refuses what would wait so much longer than its own prompt takes
    uncached; None: nothing. The weights are of
    decoding beside waiting, and of computing once more what some node has cached.
    """

    def __init__(
        self, world: World, late_ns: float | None, decode_weight: float, waste_weight: float
    ) -> None:
        self._world = world
        self._late_ns = late_ns
        self._decode_weight = decode_weight
        self._waste_weight = waste_weight

    def pick(
        self,
        views: Sequence[NodeView],
        ask: Ask,
        why_not: Filter,
        score: Scorer,
        draw: int,
        few: Sequence[int] | None = None,
    ) -> NodeView | None:
        job = self._world.job
        assert job is not None
        allowed = [view for view in views if why_not(view, ask) is None]
        sites = [(view, self._world.sites[view.node.node_id]) for view in allowed]
        sites = [(view, site) for view, site in sites if site.alive]
        least = min((site.engine.to_compute(job) for _, site in sites), default=0)
        best: tuple[float, float, NodeView] | None = None
        for view, site in sites:
            wait, own, decode = self._truth(site, job)
            until = self._world.now_ns + wait + own + decode
            wasted = site.engine.to_compute(job) - least
            cost = wait + own + self._decode_weight * decode
            cost += self._waste_weight * wasted * site.engine.gpu.prefill_ns
            if site.dies_within(self._world.now_ns, until):
                cost += 1e15
            if best is None or cost < best[0]:
                best = (cost, wait - site.engine.prompt_ns(job.prompt_tokens), view)
        if best is None or (self._late_ns is not None and best[1] > self._late_ns):
            return None
        return best[2]

    def _truth(self, site: Site, job: Job) -> tuple[float, float, float]:
        """Until it would begin, then to its first token, then to its last; ns."""
        engine, now_ns = site.engine, self._world.now_ns
        slowness = site.slowness(now_ns)
        ahead = engine.prompt_ns_ahead(now_ns + site.rtt_ns // 2) if engine.busy else 0.0
        wait = max(ahead - site.rtt_ns / 2, 0.0)
        wait += site.in_transit_tokens * engine.gpu.prefill_ns * slowness
        step = engine.decode_step_ns(engine.running_count + 1)
        if not engine.has_room(job):
            wait += engine.ns_until_some_end() * slowness
        own = site.rtt_ns + engine.prompt_ns(engine.to_compute(job)) * slowness
        return wait, own, job.output_tokens * step * slowness
