"""The engine of `tollgate node run`: vLLM that it starts, or one that runs already."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli.up import spec_of
from gateway.home import Home
from gateway.nodes.door import Door
from serving.enrolment.agent import Serving
from serving.free_ports import free_ports
from serving.local_engine import LocalEngine, ProcessEngine, RayEngine
from serving.ray_app import Pool
from serving.ray_dashboard import RayDashboard, RayUnavailableError
from serving.ray_discovery import node_records

_ANSWER_S = 10.0
_ANSWER_BYTES = 1 << 20
_POLL_S = 1.0


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


def await_engine(url: str, model: str) -> None:
    """Until the engine at `url` serves. Raises ClickException if it serves, but not `model`.

    A node that is listed before would be sent requests that nobody answers.
    """
    told = ""
    while (problem := _missing(url, model)) is not None:
        if problem != told:
            told = problem
            click.echo(f"waiting for the engine: {problem}")
        time.sleep(_POLL_S)


def _missing(url: str, model: str) -> str | None:
    """Why it does not serve yet; None once it does."""
    try:
        with contextlib.closing(Door(url, tls=None, key=None, timeout_s=_ANSWER_S)) as door:
            answer, body = door.get("/v1/models", _ANSWER_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"GET {url}/v1/models: {error}"
    if answer.status >= 500:
        return f"GET {url}/v1/models answers {answer.status}"
    try:
        listed: Any = msgspec.json.decode(body)["data"]
        models = [str(each["id"]) for each in listed]
    except (msgspec.DecodeError, KeyError, TypeError):
        said = f"GET {url}/v1/models answers {answer.status} and no list of models"
        raise click.ClickException(f"{said}: --engine-url ends where /v1/... begins") from None
    if model not in models:
        served = ", ".join(models[:5])
        raise click.ClickException(f"the engine at {url} serves {served}; not '{model}': --model")
    return None
