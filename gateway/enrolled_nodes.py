"""Suppliers' nodes, all parts of it together. Imported only with `[enrolment]`: what signatures and
certificates need takes 10 MiB and a tenth of a second.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, MutableMapping
from pathlib import Path

from gateway.enrolment.config import EnrolmentConfig
from gateway.enrolment.enrolment import Enrolment
from gateway.enrolment.node_store import NodeStore
from gateway.enrolment.roll import Roll
from gateway.routes import nodes
from gateway.routes.admin import nodes as admin_nodes


class EnrolledNodes:
    """`doors` gets the TLS of each node with a certificate, `reopen` hears whose changed."""

    def __init__(
        self,
        settings: EnrolmentConfig,
        store: NodeStore,
        *,
        identity: Path,
        writer: str,
        models: Collection[str],
        doors: MutableMapping[str, ssl.SSLContext],
        reopen: Callable[[str], None],
    ) -> None:
        enrolment = Enrolment(settings, store)
        self.routes = nodes.routes(enrolment)
        self.admin_routes = admin_nodes.routes(enrolment)
        self.roll = Roll(
            enrolment,
            identity=identity,
            writer=writer,
            models=models,
            doors=doors,
            reopen=reopen,
        )
