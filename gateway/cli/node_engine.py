"""The engine that `tollgate node run` starts: vLLM under a Ray of its own, or as a plain child."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.cli.up import spec_of
from gateway.home import Home
from serving.enrolment.agent import Serving
from serving.free_ports import free_ports
from serving.local_engine import LocalEngine, ProcessEngine, RayEngine
from serving.ray_app import Pool
from serving.ray_dashboard import RayDashboard, RayUnavailableError
from serving.ray_discovery import node_records


def start_engine(
    model: str | None, capacity: int, no_ray: bool, home: Path
) -> tuple[LocalEngine, Callable[[], Serving | None]]:
    """The engine, which is not ready yet, and a question where it is: None while it is not.

    Raises ModelError and EngineMissingError.
    """
    place = Home(home.resolve())
    spec = msgspec.structs.replace(spec_of(model, place), requests_max=capacity)
    (port,) = free_ports(1)
    kind = ProcessEngine if no_ray else RayEngine
    engine: LocalEngine = kind(spec, Pool(), home=place.path, port=port)

    def serving() -> Serving | None:
        address = engine.address()
        record = address.node
        if record is None:
            dashboard = RayDashboard(address.dashboard_url, Path(address.token_file))
            try:
                found = node_records(dashboard.applications())
            except RayUnavailableError:
                return None
            record = found[0] if found else None
        if record is None or engine.process.poll() is not None:
            return None
        return Serving(
            url=record.url,
            model=record.model,
            capacity=record.capacity,
            block_size=record.block_size,
        )

    return engine, serving
