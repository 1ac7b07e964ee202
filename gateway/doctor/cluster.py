"""The Ray cluster whose replicas are nodes, where there is one."""

from __future__ import annotations

from gateway.doctor.patient import Patient
from gateway.doctor.remark import Remark, fault, note, ok, warning
from serving.pool_state import pool_states
from serving.ray_dashboard import RayDashboard, RayRefusedError, RayUnavailableError
from serving.ray_discovery import node_records

CHECK = "ray"


def examine(patient: Patient) -> list[Remark]:
    if patient.config is None or patient.config.ray is None:
        return [note(CHECK, "none", "[ray] is not used")]
    ray = patient.config.ray
    try:
        state = RayDashboard(ray.dashboard_url, ray.token_path).applications()
    except RayRefusedError as error:
        advice = "put the cluster's token into [ray] token_file"
        return [fault(CHECK, ray.dashboard_url, str(error), advice)]
    except RayUnavailableError as error:
        advice = "start the head node; replicas that run are used until then, new ones not found"
        return [fault(CHECK, ray.dashboard_url, str(error), advice)]
    found = [
        fault(
            CHECK,
            str(name),
            f"{application.get('status')}: {application.get('message', '')}".strip(": "),
            "`serve status` and the replica's log say more",
        )
        for name, application in state.get("applications", {}).items()
        if application.get("status") in ("DEPLOY_FAILED", "UNHEALTHY", "NOT_STARTED")
    ]
    records = node_records(state)
    if not records and any(pool.replicas_min == 0 for pool in pool_states(state)):
        return [*found, ok(CHECK, ray.dashboard_url, "no replica runs; who asks wakes one")]
    if not records:
        advice = "`tollgate pools apply`; every Ray node needs direct ingress: docs/pools.md"
        return [*found, warning(CHECK, ray.dashboard_url, "no replica can be reached", advice)]
    return [*found, ok(CHECK, ray.dashboard_url, f"{len(records)} replicas can be reached")]
