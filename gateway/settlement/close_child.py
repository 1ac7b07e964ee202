"""An epoch closed in a child process: `close.py` says why."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from gateway.settlement.close import Orders, Outcome, Told
from ide.params import IdeParams

CLOSING_S_MAX = 1800.0
"""A closing that takes longer hangs."""

_ROOT = Path(__file__).parents[2]


async def close_epoch(
    where: Path | str,
    *,
    params: IdeParams,
    io_price_nano_usd: int | None,
    epoch: int,
    now_ns: int,
) -> Told:
    """`where` is the ledger's file or URL. Of several who close one epoch, one does."""
    in_file = isinstance(where, Path)
    orders = Orders(
        file=str(where) if in_file else None,
        url=None if in_file else str(where),
        params=params,
        io_price_nano_usd=io_price_nano_usd,
        epoch=epoch,
        now_ns=now_ns,
    )
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway.settlement.close"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the gateway's to pass on
            env={**os.environ, "PYTHONPATH": path},
        )
    except OSError as error:  # no memory, process or descriptor is left
        return Told(outcome=Outcome.AWAY, problem=f"no process for it: {error}")
    try:
        async with asyncio.timeout(CLOSING_S_MAX):
            said, _ = await child.communicate(msgspec.json.encode(orders))
        return msgspec.json.decode(said, type=Told)
    except (TimeoutError, msgspec.DecodeError):
        return Told(outcome=Outcome.AWAY, problem=f"its process ended with {child.returncode}")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
