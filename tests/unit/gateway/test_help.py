"""Every command's help has an example that can be copied: its lines are not folded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from click.testing import CliRunner

from gateway.cli import main


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name)


def example(path: tuple[str, ...]) -> list[str]:
    """Its lines, as they were written."""
    found: click.Command = main
    for name in path:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name) or found
    written = f"{inspect.cleandoc(found.help or '')}\n{found.epilog or ''}"
    lines = written.splitlines()
    begin = next((n for n, line in enumerate(lines) if line.startswith("Example:")), len(lines))
    end = next((n for n in range(begin, len(lines)) if not lines[n].strip()), len(lines))
    return [line.strip() for line in lines[begin:end]]


def test_every_example_is_shown_as_it_was_written():
    for path in commands(main):
        shown = CliRunner().invoke(main, [*path, "--help"]).output
        lines = [line.strip() for line in shown.splitlines()]
        wanted = example(path)
        assert wanted, path
        assert wanted[0].startswith(f"Example: tollgate {' '.join(path)}"), path
        assert [line for line in wanted if line not in lines] == [], path
