"""A reputation as the API and the commands tell it: the score, and all that it is made of. Pure."""

from __future__ import annotations

from typing import Any

from router.conduct import Conducts
from router.reputation import (
    RULES,
    SCORE_MAX,
    Evidence,
    Judgement,
    Memory,
    Rule,
    Trait,
)


def reputation_json(conducts: Conducts, node_id: str, now_ns: int) -> dict[str, Any] | None:
    """None if nobody ever heard of the node."""
    conduct = conducts.known(node_id)
    if conduct is None:
        return None
    found = conducts.judge(conduct, now_ns)
    supplier = conducts.judge_supplier(conduct.supplier_id, now_ns)
    assert supplier is not None, conduct.supplier_id
    return {
        "object": "node_reputation",
        "node": node_id,
        "score": found.score,
        "tier": found.tier,
        "bound": conducts.terms.bound,
        "half_life_h": conducts.terms.half_life_ns / 3_600e9,
        "questions": {str(trait): _question(found, trait) for trait in Trait},
        "supplier": {
            "id": conduct.supplier_id,
            "score": supplier.score,
            "tier": supplier.tier,
        },
    }


def _question(found: Judgement, trait: Trait) -> dict[str, Any]:
    posterior, rule = found.posteriors[trait], RULES[trait]
    return {
        "score": max(0, int(SCORE_MAX * posterior.bound)),
        "kept": round(posterior.kept, 3),
        "broken": round(posterior.broken, 3),
        "mean": round(posterior.mean, 4),
        "prior": rule.strength,
        "evidence": _evidence(found.memory, rule),
    }


def _evidence(memory: Memory, rule: Rule) -> list[dict[str, Any]]:
    """What is remembered, each kind with its weight; a kept promise weighs 1."""
    weights: dict[Evidence, float] = {rule.kept: 1.0, **rule.broken}
    return [
        {
            "kind": kind,
            "remembered": round(memory[kind], 3),
            "weight": weight,
            "speaks": "for" if kind is rule.kept else "against",
        }
        for kind, weight in weights.items()
        if kind in memory
    ]
