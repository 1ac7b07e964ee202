"""`make structured`: see README.md."""

from __future__ import annotations

import sys
from collections import Counter

import click
import openai
import uvloop

from .asking import TIMEOUT_S, faults


@click.command()
@click.option("--url", required=True, help="A gateway that runs, over a real engine.")
@click.option("--key", required=True, help="An API key of it, with credit.")
@click.option("--model", required=True, help="A model that it serves.")
@click.option("--each", default=200, show_default=True, help="Tool calls, and as many answers.")
def main(url: str, key: str, model: str, each: int) -> None:
    """Ask for JSON of a schema; ends with 1 if an answer was not of it.

    Example: make structured ARGS='--url http://127.0.0.1:8080 --key sk-tg-... --model demo'
    """
    sys.exit(uvloop.run(_run(url, key, model, each)))


async def _run(url: str, key: str, model: str, each: int) -> int:
    asked, wrong = Counter[str](), Counter[str]()
    async with openai.AsyncOpenAI(
        base_url=f"{url.rstrip('/')}/v1", api_key=key, timeout=TIMEOUT_S
    ) as ai:
        async for ask, fault in faults(ai, model, each):
            asked[ask.kind] += 1
            if fault is not None:
                wrong[ask.kind] += 1
                click.echo(f"{ask}: {fault}")
    for kind, count in sorted(asked.items()):
        click.echo(f"{count - wrong[kind]:5} of {count:4} valid  {kind}")
    click.echo(f"{asked.total() - wrong.total():5} of {asked.total():4} valid")
    return int(wrong.total() > 0)


if __name__ == "__main__":
    main(prog_name="make structured")
