"""`make alerts`: see README.md."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import click

from .faults import faults
from .stack import stacked


@click.command()
@click.option("--speed", default=10.0, show_default=True, help="How much shorter windows are.")
def main(speed: float) -> None:
    """Do the five worst things to a stack that runs, and time the alerts.

    Example: make alerts ARGS='--speed 1'
    """
    logging.disable(logging.WARNING)  # what the gateway says of its faults
    asyncio.run(_main(speed))


async def _main(speed: float) -> None:
    async with stacked(speed=speed) as stack:
        load = asyncio.create_task(stack.load())
        await stack.settle(dear=False)
        click.echo(f"windows and waits divided by {speed:g}")
        async for done, alert, seconds in faults(stack, within_s=1200 / speed + 60):
            click.echo(f"{done:<34} {alert:<24} {seconds:6.1f} s")
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        click.echo(f"answers by status: {dict(sorted(stack.answers.items()))}")


if __name__ == "__main__":
    main()
