"""Suppliers' nodes, all parts of it together. Imported only with `[enrolment]`: what signatures and
certificates need takes 10 MiB and a tenth of a second.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

from fastapi import APIRouter
from fastapi.routing import APIRoute

from gateway.enrolment.attendance import Attendance
from gateway.enrolment.config import EnrolmentConfig
from gateway.enrolment.enrolment import Enrolment
from gateway.enrolment.node_store import NodeStore
from gateway.enrolment.roll import Roll
from gateway.openai.request import Endpoint
from gateway.routes import nodes
from gateway.routes.admin import nodes as admin_nodes
from metering.database import Database
from metering.gpu_time_store import GpuTimeStore
from router.router import Router


class EnrolledNodes:
    """`doors` gets the TLS of each node with a certificate, `reopen` hears whose changed."""

    def __init__(
        self,
        settings: EnrolmentConfig,
        store: NodeStore,
        *,
        identity: Path,
        writer: str,
        database: Database,
        models: Mapping[str, tuple[Endpoint, ...]],
        doors: MutableMapping[str, ssl.SSLContext],
        reopen: Callable[[str], None],
        router: Router,
    ) -> None:
        enrolment = Enrolment(settings, store)
        self.routes = nodes.routes(enrolment)
        self._enrolment = enrolment
        self.roll = Roll(
            enrolment,
            identity=identity,
            writer=writer,
            models=models,
            doors=doors,
            reopen=reopen,
        )
        self.attendance = Attendance(
            store,
            GpuTimeStore(database),
            database,
            writer=writer,
            models=models,
            doors=doors,
            views=lambda: router.nodes(time.monotonic_ns()),
        )

    def admin_routes(self, route_class: type[APIRoute]) -> APIRouter:
        return admin_nodes.routes(self._enrolment, route_class)
