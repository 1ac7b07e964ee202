"""What this repository's pages say, held against the repository: links lead somewhere, files in
tables exist, commands, settings, metrics and targets of make are those of the code.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import click
import msgspec
import pytest

from gateway.cli import main
from gateway.config import Config
from gateway.telemetry.all_metrics import as_markdown

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"`([\w./-]+\.(?:py|sql|toml|txt|jinja|lua|sh|yaml|yml)|[\w-]+/)`")
SUFFIXES = ("", "_total", "_bucket", "_count", "_sum")
NO_METRICS = {"tollgate_admin_key", "tollgate_scorecard_", "tollgate_spool"}
"""A file, the beginning of names, a job."""

Problems = Iterator[str]


@cache
def pages() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = [ROOT / line for line in listed.stdout.splitlines()]
    return {file.relative_to(ROOT).as_posix(): file.read_text() for file in files if file.is_file()}


def links_lead_somewhere(path: str, text: str) -> Problems:
    for found in re.finditer(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = found[1].partition("#")
        if re.match(r"[a-z]+:", name):
            continue
        target = (ROOT / path).parent / name if name else ROOT / path
        if not target.exists():
            yield f"{_at(path, text, found)}: the link to {found[1]} leads nowhere"
        elif anchor and anchor not in _anchors(text if not name else target.read_text()):
            yield f"{_at(path, text, found)}: {name or path} has no heading #{anchor}"


def tables_name_files_that_exist(path: str, text: str) -> Problems:
    if not path.endswith("README.md"):
        return
    folder = (ROOT / path).parent
    for found in re.finditer(r"^\|.*(?=\|[^|\n]*\|$)", text, re.MULTILINE):
        for name in FILE.findall(found[0]):
            if not (folder / name).exists() and not any(folder.rglob(name)):
                yield f"{_at(path, text, found)}: there is no {name} in {folder.name}/"


def commands_are_there(path: str, text: str) -> Problems:
    text = text.replace("\\\n", "  ")
    for found in re.finditer(r"(?:`|^    |^\$ ?|&& )tollgate ([^`\n|#;&>]+)", text, re.MULTILINE):
        said = _unknown_to_click(main, [word.rstrip(".,:)") for word in found[1].split()])
        if said:
            yield f"{_at(path, text, found)}: `tollgate {found[1].strip()}`: {said}"


def _unknown_to_click(command: click.Command, words: list[str]) -> str:
    context = click.Context(command)
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        named = None if words[0].startswith("-") else command.get_command(context, words[0])
        if named is None:
            return f"there is no {words[0]}"
        command, words = named, words[1:]
    options = {each for option in command.params for each in (*option.opts, *option.secondary_opts)}
    used = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    missing = used - options - {"--help", "--version"}
    return f"it has no {', '.join(sorted(missing))}" if missing else ""


def settings_are_known(path: str, text: str) -> Problems:
    for block in re.finditer(r"^```toml\n(.*?)^```|((?:^    [^\n]*\n|^\n)+)", text, re.M | re.S):
        toml = textwrap.dedent(block[1] or block[2]).strip()
        if not re.match(r"(#.*\n)*\[\[?[a-z_.]+\]", toml):
            continue
        try:
            msgspec.convert(tomllib.loads(toml), Config)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            yield f"{_at(path, text, block)}: the gateway would refuse this: {error}"


def metrics_are_told(path: str, text: str) -> Problems:
    told = {f"{name}{suffix}" for name in _metrics() for suffix in SUFFIXES} | NO_METRICS
    for found in re.finditer(r"(?<![\w:])tollgate_[a-z_]+(?!:)\b", text):
        if found[0] not in told:
            yield f"{_at(path, text, found)}: there is no metric {found[0]}"


@cache
def _metrics() -> set[str]:
    return set(re.findall(r"^\| `(tollgate_\w+)`", as_markdown(), re.MULTILINE))


def targets_are_there(path: str, text: str) -> Problems:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for found in re.finditer(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE):
        if found[1] not in targets:
            yield f"{_at(path, text, found)}: the Makefile has no {found[1]}"


def tollgate_comes_from_a_clone(path: str, text: str) -> Problems:
    """The name on PyPI is another project's: who installs that runs a stranger's code."""
    for found in re.finditer(r"install\S* ['\"]?tollgate\b(?!-)|\btollgate\[[a-z]", text):
        yield f"{_at(path, text, found)}: PyPI's tollgate is not ours; write '.[extra]', in a clone"


def _anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def _at(path: str, text: str, found: re.Match[str]) -> str:
    return f"{path}:{text.count(chr(10), 0, found.start()) + 1}"


RULES: tuple[Callable[[str, str], Problems], ...] = (
    links_lead_somewhere,
    tables_name_files_that_exist,
    commands_are_there,
    settings_are_known,
    metrics_are_told,
    targets_are_there,
    tollgate_comes_from_a_clone,
)


@pytest.mark.parametrize("rule", RULES)
def test_each_page(rule: Callable[[str, str], Problems]) -> None:
    problems = [problem for path, text in pages().items() for problem in rule(path, text)]
    assert not problems, "\n" + "\n".join(problems)


def test_no_message_sends_to_the_other_tollgate() -> None:
    files = [
        file
        for room in ("gateway", "ide", "metering", "serving", "deploy")
        for file in (ROOT / room).rglob("*")
        if file.suffix in (".py", ".sh", ".service", ".yaml")
    ]
    problems = [
        problem
        for file in files
        for problem in tollgate_comes_from_a_clone(str(file.relative_to(ROOT)), file.read_text())
    ]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (links_lead_somewhere, "[there](docs/nowhere.md)"),
        (links_lead_somewhere, "[there](README.md#no-such-heading)"),
        (tables_name_files_that_exist, "| `gone.py` | what it was |"),
        (tables_name_files_that_exist, "| `gone/` | what it was |"),
        (commands_are_there, "`tollgate customer open acme`"),
        (commands_are_there, "    tollgate key create --no-such-option"),
        (settings_are_known, "\n    [server]\n    no_such_key = 1\n\nand so on"),
        (settings_are_known, "```toml\n[[node]\n```\n"),
        (metrics_are_told, "`tollgate_no_such_total`"),
        (targets_are_there, "`make nothing`"),
        (tollgate_comes_from_a_clone, "pip install tollgate"),
        (tollgate_comes_from_a_clone, "(`tollgate[serve]`)"),
    ],
)
def test_the_rules_find_what_they_forbid(rule: Callable[[str, str], Problems], bad: str) -> None:
    assert list(rule("README.md", bad))
