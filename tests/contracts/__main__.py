"""`make contract`: see README.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import uvloop

from .run import ANSWERING, kept_paths, run
from .stand import MODEL, over_fake_node


@click.command()
@click.option("--url", help="A gateway that runs; one over a fake node if not given.")
@click.option("--key", help="An API key of it, with credit.")
@click.option("--model", default=MODEL, show_default=True, help="A model that it serves.")
@click.option("--examples", default=20, show_default=True, help="Of each operation, fuzzed.")
@click.option("--path", "paths", multiple=True, help="Only this path; may be repeated.")
def main(
    url: str | None, key: str | None, model: str, examples: int, paths: tuple[str, ...]
) -> None:
    """Hold a gateway to OpenAI's API document. Ends with 1 where it does not keep to it.

    Example: make contract ARGS='--url http://127.0.0.1:8080 --key sk-tg-... --model demo'
    """
    if url is not None and key is None:
        raise click.UsageError("--url needs --key too")
    with tempfile.TemporaryDirectory(prefix="tollgate-contract-") as made:
        folder = Path(made)

        def ask(url: str, key: str) -> int:
            good = {"mode": "positive", "examples": 5 * examples}
            runs = [
                {"examples": examples, "paths": paths},
                {"paths": paths or ANSWERING, "phases": ["fuzzing"], **good},
            ]
            if not paths:  # what was made is read, listed, cancelled and deleted
                runs += [{"paths": group, "phases": ["stateful"], **good} for group in kept_paths()]
            code = 0
            for options in runs:
                done = run(folder, url=url, key=key, model=model, **options)
                click.echo(done.stdout)
                code = code or done.returncode
            return code

        code = uvloop.run(over_fake_node(folder, ask)) if url is None else ask(url, key or "")
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="make contract")
