"""How far a node is trusted: what it is known for, what that is worth, who gets no traffic. Pure.

Three questions are asked of a node, each answered by a Beta posterior over "it keeps its word":

    reliability  does what it begins end well?            evidence: every request
    usage        does it claim what it did?               evidence: answers counted again
    model        does it serve what it says it serves?    evidence: canaries

    kept, broken = prior + what is remembered, each piece by its weight
    bound        = mean - one standard deviation of Beta(kept, broken)
    score        = 1000 * the lowest of the three

What is remembered fades: by half in `half_life_ns`, and of each question by 1 in `memory` with each
new piece of evidence, so that a good past does not cover what a node does now. What is known of a
supplier's other nodes is the prior of each of its nodes: a new name washes nobody.

Failures in a row are one, and another one each minute: thirty streams that end with the process
behind them are no thirty broken promises, and a node that is down is the breaker's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import sqrt

import msgspec

SCORE_MAX = 1000
BOUND = 900
"""Below this score a node gets nothing of customers, unless told otherwise."""
FULL_FROM = 950
"""From this score on a node is preferred to none other for its reputation."""
LEAST_WEIGHT = 0.2
HALF_LIFE_NS = 24 * 3_600 * 10**9
IN_A_ROW_NS = 60 * 10**9
_NOTHING_LEFT = 0.01
"""Less than so much is no memory any more."""


class Evidence(StrEnum):
    """One thing that was seen of a node."""

    SERVED = "served"
    CONNECT_ERROR = "connect_error"
    TIMEOUT = "timeout"
    """No first byte came in time."""
    BROKEN = "broken"
    """The connection ended in the middle."""
    STALLED = "stalled"
    """The connection stayed, and nothing came any more."""
    SLOW = "slow"
    """A first token far beyond what this very node takes."""
    COUNT_PASSED = "count_passed"
    COUNT_FAILED = "count_failed"
    """One answer with more tokens than it has."""
    FALSE_USAGE = "false_usage"
    """What no honest node can come to: many answers with a little more, or more than possible."""
    CANARY_PASSED = "canary_passed"
    CANARY_FAILED = "canary_failed"


class Trait(StrEnum):
    RELIABILITY = "reliability"
    USAGE = "usage"
    MODEL = "model"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How one question is judged."""

    strength: float
    """Of the prior, in pieces of evidence."""
    memory: int
    """The last so many pieces count, about."""
    kept: Evidence
    broken: Mapping[Evidence, float]
    """What each is worth, one kept promise being 1."""


PRIOR_BROKEN = 0.00625
"""What is expected of nodes that nothing is known of: 1 in 160."""
PRIOR_BROKEN_MAX = 0.15
"""Of the worst supplier's nodes: a new one is barred, one with a record of its own need not be."""

RULES: Mapping[Trait, Rule] = {
    Trait.RELIABILITY: Rule(
        strength=160.0,
        memory=250,
        kept=Evidence.SERVED,
        broken={
            Evidence.CONNECT_ERROR: 1.0,
            Evidence.TIMEOUT: 2.0,
            Evidence.BROKEN: 3.0,
            Evidence.STALLED: 12.0,
            Evidence.SLOW: 0.2,
        },
    ),
    Trait.USAGE: Rule(
        strength=160.0,
        memory=250,
        kept=Evidence.COUNT_PASSED,
        broken={Evidence.COUNT_FAILED: 6.0, Evidence.FALSE_USAGE: 60.0},
    ),
    Trait.MODEL: Rule(
        strength=40.0,
        memory=20,
        kept=Evidence.CANARY_PASSED,
        broken={Evidence.CANARY_FAILED: 2.0},
    ),
}
_KINDS = tuple((rule, (rule.kept, *rule.broken)) for rule in RULES.values())
GOOD = frozenset(rule.kept for rule in RULES.values())


class Tier(StrEnum):
    """A score in words; `TIERS` has their bounds."""

    PROVEN = "proven"
    SOUND = "sound"
    NEW = "new"
    """Nothing is held against it, and little is known."""
    DOUBTFUL = "doubtful"
    BARRED = "barred"


PROVEN_FROM, PROVEN_PIECES = 980, 100.0
"""And so many pieces of evidence at least."""

Memory = Mapping[Evidence, float]
"""Pieces of evidence, as far as they have not faded."""


class Increment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """So many more pieces of one kind. Sums of increments, in any order, are increments."""

    node_id: str
    supplier_id: str
    kind: Evidence
    count: int


class Posterior(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of one question."""

    kept: float
    broken: float

    @property
    def mean(self) -> float:
        return self.kept / (self.kept + self.broken)

    @property
    def bound(self) -> float:
        """One standard deviation below the mean."""
        mean = self.mean
        return mean - sqrt(mean * (1.0 - mean) / (self.kept + self.broken + 1.0))


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a memory is worth, and why."""

    score: int
    tier: Tier
    posteriors: dict[Trait, Posterior]
    memory: dict[Evidence, float]


def faded(memory: Memory, age_ns: int, half_life_ns: int) -> dict[Evidence, float]:
    """What is left of it after so long."""
    if age_ns <= 0:
        return dict(memory)
    share = 0.5 ** (age_ns / half_life_ns)
    return {kind: left for kind, was in memory.items() if (left := was * share) > _NOTHING_LEFT}


def after(memory: Memory, pieces: Mapping[Evidence, int]) -> dict[Evidence, float]:
    """The memory with more pieces, which came evenly mixed."""
    left = dict(memory)
    for rule, kinds in _KINDS:
        came = sum(pieces.get(kind, 0) for kind in kinds)
        if came:
            keep = (1.0 - 1.0 / rule.memory) ** came
            spread = (1.0 - keep) * rule.memory / came
            for kind in kinds:
                value = left.get(kind, 0.0) * keep + pieces.get(kind, 0) * spread
                if value > _NOTHING_LEFT:
                    left[kind] = value
                else:
                    left.pop(kind, None)
    return left


def weighed(memory: Memory, trait: Trait) -> tuple[float, float]:
    """Promises kept and broken."""
    rule = RULES[trait]
    broken = sum(memory.get(kind, 0.0) * weight for kind, weight in rule.broken.items())
    return memory.get(rule.kept, 0.0), broken


def posterior(memory: Memory, trait: Trait, others: Memory) -> Posterior:
    """`others`: of the supplier's other nodes. They make a prior worse, never better."""
    strength = RULES[trait].strength
    expected = min(max(_expected(others, trait), PRIOR_BROKEN), PRIOR_BROKEN_MAX)
    kept, broken = weighed(memory, trait)
    return Posterior(kept=strength * (1.0 - expected) + kept, broken=strength * expected + broken)


def _expected(others: Memory, trait: Trait) -> float:
    """The share that nodes like these break."""
    strength = RULES[trait].strength
    kept, broken = weighed(others, trait)
    return (strength * PRIOR_BROKEN + broken) / (strength + kept + broken)


def worsens(others: Memory) -> bool:
    """Whether such nodes make the prior of another any worse."""
    return any(_expected(others, trait) > PRIOR_BROKEN for trait in Trait)


def judge(memory: Memory, others: Memory, bar: int = BOUND) -> Judgement:
    """`bar`: the score below which a node is barred; 0: none is."""
    posteriors = {trait: posterior(memory, trait, others) for trait in Trait}
    score = max(0, int(SCORE_MAX * min(each.bound for each in posteriors.values())))
    return Judgement(
        score=score,
        tier=tier_of(score, memory.get(Evidence.SERVED, 0.0), bar),
        posteriors=posteriors,
        memory=dict(memory),
    )


def tier_of(score: int, pieces: float, bar: int = BOUND) -> Tier:
    """`pieces`: of evidence that there is of its reliability."""
    if score < bar:
        return Tier.BARRED
    if score < FULL_FROM:
        return Tier.DOUBTFUL
    if pieces < PROVEN_PIECES:
        return Tier.NEW
    return Tier.PROVEN if score >= PROVEN_FROM else Tier.SOUND


def weight_of(score: int) -> float:
    """What a scorer makes of it: 1 from `FULL_FROM` on, `LEAST_WEIGHT` at `BOUND` and below."""
    share = (score - BOUND) / (FULL_FROM - BOUND)
    if share >= 1.0:
        return 1.0
    return LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * max(share, 0.0)


def less(total: Memory, part: Memory) -> dict[Evidence, float]:
    """The sum without one of its parts."""
    return {
        kind: rest
        for kind, value in total.items()
        if (rest := value - part.get(kind, 0.0)) > _NOTHING_LEFT
    }


def summed(memories: Iterable[Memory]) -> dict[Evidence, float]:
    total: dict[Evidence, float] = {}
    for memory in memories:
        for kind, value in memory.items():
            total[kind] = total.get(kind, 0.0) + value
    return total
