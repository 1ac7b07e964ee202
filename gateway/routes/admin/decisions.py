"""`/admin/v1/decisions/{request_id}`: why a request went where it went."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway import errors
from router.router import Router
from router.types import Decision
from router.wants import Wants

_MS = 1e6


def routes(router: Router) -> APIRouter:
    api = APIRouter(prefix="/decisions")

    @api.get("/{request_id}")
    def explain(request_id: str) -> dict[str, Any]:
        """One decision for each node that was tried. Of this process, as long as it is kept."""
        found = [] if router.log is None else router.log.of(request_id)
        if not found:
            raise errors.not_found(
                f"No decision for '{request_id}' is kept by this process: it keeps the last ones "
                "([router] decisions_kept), and each worker its own."
            )
        return {
            "object": "route",
            "request_id": request_id,
            "decisions": [decision_json(router, decision) for decision in found],
        }

    return api


def decision_json(router: Router, decision: Decision) -> dict[str, Any]:
    policy, ask = router.policy, decision.ask
    again = policy.replay(decision)
    return {
        "node": decision.node_id,
        "reason": decision.reason,
        "refused": decision.refused,
        "replayed": (again.node_id, again.reason) == (decision.node_id, decision.reason),
        "prompt_tokens": ask.features.prompt_tokens,
        "expected_tokens": round(ask.expected_tokens),
        "tried_before": sorted(ask.excluded),
        "wants": _wants_json(ask.features.wants),
        "nodes": [
            {
                "node": verdict.node_id,
                "chosen": verdict.chosen,
                "left_out": verdict.left_out,
                "score": verdict.score,
                "supplier": view.node.supplier_id,
                "region": view.node.region,
                "tier": view.node.tier,
                "price_ppm": view.node.price_ppm,
                "in_flight": view.in_flight,
                "capacity": view.node.capacity,
                "rtt_ms": None if view.load is None else round(view.load.rtt_ns / _MS, 3),
                "cached_tokens": ask.cached_tokens(view.slot),
                "pending_tokens": view.pending_tokens,
                "prefill_us_per_token": round(view.pace.prefill.slope / 1e3, 3),
                "prefill_fixed_ms": round(view.pace.prefill.base / _MS, 3),
                "decode_ms_per_token": round(
                    (view.pace.decode.base + view.pace.decode.slope * view.in_flight) / _MS, 3
                ),
                "slowdown": round(view.pace.slowdown_at(ask.now_ns), 3),
                "standing": view.standing,
            }
            for view, verdict in zip(decision.seen, policy.explain(decision), strict=True)
        ],
    }


def _wants_json(wants: Wants | None) -> dict[str, Any] | None:
    if wants is None:
        return None
    return {
        "sort": wants.sort,
        "region": sorted(wants.regions),
        "min_tier": wants.tier_min,
        "price_ppm_max": wants.price_ppm_max,
        "only": sorted(wants.only),
        "ignore": sorted(wants.ignored),
        "allow_fallbacks": wants.fallbacks,
    }
