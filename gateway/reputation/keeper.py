"""Keeps reputations up to now while the gateway runs."""

from __future__ import annotations

import asyncio
import time

from router.router import Router

REFRESH_S = 10.0


class Keeper:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def run(self) -> None:
        """For the gateway's lifetime."""
        while True:
            self._router.refresh_reputations(time.monotonic_ns())
            await asyncio.sleep(REFRESH_S)
