"""Runs policies in the same worlds."""

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from router.router import Router
from router.simulator.contenders import CONTENDERS
from router.simulator.job import Job
from router.simulator.outcome import Figures, Outcome, figures
from router.simulator.scenario import Scenario, cast, fair_shares
from router.simulator.site import Site
from router.simulator.world import World


class Result(msgspec.Struct, frozen=True, kw_only=True):
    figures: Figures
    outcomes: list[Outcome]
    """Of those that are counted."""
    loads: dict[str, float]
    """Of each node, its share of the work by its fair share."""


def play(
    policy: str,
    scenario: Scenario,
    trace: Sequence[Job],
    *,
    seed: int,
    requests: int,
    nodes: int,
    done: Callable[[int], None] | None = None,
) -> Result:
    """One policy in one world. `done` hears of how many requests have ended, now and then. Raises
    KeyError for a policy that is not known, ValueError for an empty trace.
    """
    stage = cast(scenario, trace, seed=seed, requests=requests, nodes=nodes)
    world = World(stage.sites, Random(seed))
    router = Router(world.registry, CONTENDERS[policy](world), Random(seed + 1))
    outcomes = world.run(stage.jobs, router, done)
    work = [site.served_tokens for site in stage.sites]
    shares = fair_shares(stage.sites, stage.jobs)
    loads = [each / max(sum(work), 1) / share for each, share in zip(work, shares, strict=True)]
    counted = outcomes[stage.counted_from :]
    told = figures(
        counted,
        policy=policy,
        seed=seed,
        scenario=scenario.name,
        infinite_hits=stage.infinite_hits,
        loads=loads,
        supplier_share_max=_most_of_one_supplier(stage.sites),
    )
    names = [site.record.node_id for site in stage.sites]
    return Result(figures=told, outcomes=counted, loads=dict(zip(names, loads, strict=True)))


def _most_of_one_supplier(sites: Sequence[Site]) -> float:
    """Of all tokens, the share of the supplier that served most."""
    served: dict[str, int] = {}
    for site in sites:
        supplier = site.record.supplier_id
        served[supplier] = served.get(supplier, 0) + site.served_tokens
    return max(served.values()) / max(sum(served.values()), 1)
