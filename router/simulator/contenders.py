"""Who can be compared: each a policy of the one router, made for one world."""

from collections.abc import Callable

from router.picker import power_of_two
from router.policy import Policy, learned_policy
from router.simulator.baselines import cache_aware, fewest, least_in_flight, llm_d, round_robin
from router.simulator.oracle import Oracle
from router.simulator.world import World
from router.types import Load, NodeView

WAIT_NS_MAX = 2_000_000_000
"""What would have to wait longer is refused, by our policy and by the oracle; others know no such
bound.
"""
SHARE_MAX = 0.4
"""Of a supplier, in `diverse`, which else is as `tollgate`."""
BASELINES = ("round-robin", "least-in-flight", "power-of-two", "cache-aware", "llm-d")

CONTENDERS: dict[str, Callable[[World], Policy]] = {
    "tollgate": lambda world: learned_policy(WAIT_NS_MAX),
    "oracle": lambda world: Policy(
        pick=Oracle(world, WAIT_NS_MAX, 0.0, 1.0).pick, spares_new=False
    ),
    "round-robin": lambda world: Policy(pick=round_robin(), spares_new=False),
    "least-in-flight": lambda world: Policy(pick=least_in_flight, spares_new=False),
    "power-of-two": lambda world: Policy(pick=power_of_two, score=fewest, spares_new=False),
    "cache-aware": lambda world: Policy(pick=cache_aware, learns=True, spares_new=False),
    "llm-d": lambda world: Policy(pick=llm_d(_live(world)), learns=True, spares_new=False),
    "free-share": lambda world: Policy(),
    "diverse": lambda world: learned_policy(WAIT_NS_MAX, SHARE_MAX),
}


def _live(world: World) -> Callable[[NodeView], Load]:
    """What a node's counters say at this instant."""

    def kept_queue(view: NodeView) -> Load:
        site = world.sites[view.node.node_id]
        engine = site.engine
        if site.lies:
            return Load(waiting=0, running=0, kv_use=0.0)
        return Load(
            waiting=engine.waiting_count,
            running=engine.running_count,
            kv_use=engine.kv_use,
        )

    return kept_queue
