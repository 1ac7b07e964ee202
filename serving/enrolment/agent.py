"""A supplier's node: keeps its engine listed at a gateway, for as long as it serves.

The engine listens on loopback; gateways reach it through the node's own door (`front.py`), unless
the node is reached in another way, by its plain `http` URL. The agent calls the gateway, never the
other way round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from serving.enrolment.client import AwayError, GatewayClient, RefusedError
from serving.enrolment.engine_load import engine_load
from serving.enrolment.front import Front
from serving.enrolment.key_files import write_secret
from serving.enrolment.messages import Enrol, Hardware, Lease, Leased

log = logging.getLogger("tollgate.node")

LEASE_S = 15
"""Until the gateway has said how long its leases are."""
HEARTBEATS_PER_LEASE = 3
ENROLLED = "enrolled.json"


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """The engine as it is reached on this machine."""

    url: str
    model: str
    capacity: int
    block_size: int = 0
    engine: str = "vllm"


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    advertised_url: str
    """Where gateways reach the node."""
    certificate: str
    """What is answered with there; empty for plain http."""
    certificate_proof: str
    """That it is of the node whose key this is."""
    hardware: Hardware
    drain_s: float = 60.0


class NodeEndedError(Exception):
    """The gateway does not want this node: starting it again changes nothing."""


class Agent:
    """`serving` says where the engine is now, None while it is not; it may block."""

    def __init__(
        self,
        home: Path,
        client: GatewayClient,
        front: Front | None,
        settings: AgentSettings,
        serving: Callable[[], Serving | None],
    ) -> None:
        self._home = home
        self._client = client
        self._front = front
        self._settings = settings
        self._serving = serving
        self._lease_s: float = LEASE_S

    async def enrol(self, invitation: str) -> str:
        """The node's id. Does nothing if it enrolled before. Raises RefusedError, AwayError."""
        kept = self._home / ENROLLED
        if kept.exists():
            return str(msgspec.json.decode(kept.read_bytes())["node_id"])
        said = Enrol(invitation=invitation, hardware=self._settings.hardware)
        enrolled = await asyncio.to_thread(self._client.enrol, said)
        write_secret(kept, msgspec.json.encode(enrolled))
        return enrolled.node_id

    async def run(self, stop: asyncio.Event, on_leased: Callable[[Leased], None]) -> None:
        """Heartbeats until `stop`; then what is under way is let finish, and the lease ended.

        `on_leased` hears of the first lease, and of one that follows a silence.
        Raises NodeEndedError.
        """
        leased = False
        while not stop.is_set():
            answer = await self._beat("ready")
            if answer is not None and not leased:
                on_leased(answer)
            leased = answer is not None
            await _wait(stop, self._lease_s / HEARTBEATS_PER_LEASE if leased else 1.0)
        await self._drain()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.drain_s
        while (serving := await asyncio.to_thread(self._serving)) is not None:
            await self._beat("draining")
            load = await asyncio.to_thread(engine_load, serving.url)
            if not load or loop.time() >= deadline:
                break
            await asyncio.sleep(min(0.5, self._lease_s / HEARTBEATS_PER_LEASE))
        await self._beat("gone")
        if self._front is not None:
            await self._front.close()

    async def _beat(self, state: str) -> Leased | None:
        """Tell the gateway; None if there was nothing to tell or nobody to hear it."""
        serving = await asyncio.to_thread(self._serving)
        if serving is None:
            return None
        said = await asyncio.to_thread(self._said, serving, state)
        try:
            answer = await asyncio.to_thread(self._client.lease, said)
        except AwayError as error:
            log.warning("the gateway did not hear: %s", error)
            return None
        except RefusedError as error:
            if error.code in ("unknown_key", "forged"):
                raise NodeEndedError(str(error)) from None
            log.warning("%s", error)
            return None
        self._lease_s = answer.lease_s or self._lease_s
        if self._front is not None:
            self._front.engine_url = serving.url
            await self._front.trust(answer.certificates)
        return answer

    def _said(self, serving: Serving, state: str) -> Lease:
        settings = self._settings
        return msgspec.convert(
            {
                "state": state,
                "url": settings.advertised_url or serving.url,
                "certificate": settings.certificate,
                "certificate_proof": settings.certificate_proof,
                "model": serving.model,
                "capacity": serving.capacity,
                "engine": serving.engine,
                "block_size": serving.block_size,
                "in_flight": engine_load(serving.url),
                "hardware": msgspec.to_builtins(settings.hardware),
            },
            Lease,
        )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
