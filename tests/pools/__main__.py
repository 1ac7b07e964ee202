"""`make pools`: see README.md."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from . import parts
from .stand import standing


@click.command()
@click.option("--no-vllm", is_flag=True, help="Leave the real engine out: a minute and 3 GiB less.")
def main(no_vllm: bool) -> None:
    """Pools on four labelled Ray nodes of this machine. Ends with 1 if anything did not hold.

    Example: make pools ARGS=--no-vllm
    """
    with tempfile.TemporaryDirectory(prefix="tollgate-pools-") as folder:
        failed = asyncio.run(_run(Path(folder), vllm=not no_vllm))
    sys.exit(failed)


async def _run(folder: Path, *, vllm: bool) -> bool:
    failed = False
    async with standing(folder) as stand:
        stand.configure(*parts.models(vllm=vllm))
        async with stand.gateway() as served:
            chosen: list[parts.Part] = [
                parts.placement,
                parts.autoscaling,
                parts.waking,
                *([parts.real_engine] if vllm else []),
                parts.rolling,
                parts.lost_node,
            ]
            for part in chosen:
                try:
                    figures = await part(stand, served)
                except AssertionError as error:
                    failed = True
                    click.echo(f"{part.__name__}: FAILED: {error}")
                else:
                    told = ", ".join(f"{name} {figure}" for name, figure in figures.items())
                    click.echo(f"{part.__name__}: {told}")
    return failed


if __name__ == "__main__":
    main(prog_name="make pools")
