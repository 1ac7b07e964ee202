"""Reads the traces that are published: Azure's CSV and Mooncake's JSON lines. An edge."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from router.simulator.job import Job

_AZURE_HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"


class TraceError(Exception):
    """The file is no trace; the message says which line and what was expected."""


class _MooncakeLine(msgspec.Struct):
    timestamp: int
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]


def read_trace(path: Path) -> list[Job]:
    """The jobs of a trace in order of arrival, the first at 0. Raises TraceError, OSError."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
        if first.strip() == _AZURE_HEAD:
            jobs = list(_azure(path, file))
        elif first.startswith("{"):
            jobs = list(_mooncake(path, [first, *file]))
        else:
            raise TraceError(
                f"{path}:1: neither Azure's head ({_AZURE_HEAD}) nor a line of JSON as Mooncake's"
            )
    if not jobs:
        raise TraceError(f"{path}: has no requests")
    return sorted(jobs, key=lambda job: job.arrival_ns)


def _azure(path: Path, lines: Iterable[str]) -> Iterable[Job]:
    start: datetime | None = None
    for number, line in enumerate(lines):
        try:
            when, prompt, output = line.strip().split(",")
            # Python reads microseconds, the trace has a seventh digit.
            instant = datetime.fromisoformat(when[:26])
            start = start or instant
            yield Job(
                job_id=number,
                arrival_ns=int((instant - start).total_seconds() * 1e9),
                prompt_tokens=int(prompt),
                output_tokens=int(output),
            )
        except ValueError as error:
            raise TraceError(
                f"{path}:{number + 2}: {error}; expected a line like "
                "2023-11-16 18:15:46.6805900,374,44"
            ) from error


def _mooncake(path: Path, lines: Iterable[str]) -> Iterable[Job]:
    decoder = msgspec.json.Decoder(_MooncakeLine)
    for number, line in enumerate(lines):
        try:
            read = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise TraceError(
                f"{path}:{number + 1}: {error}; expected an object with timestamp, input_length, "
                "output_length and hash_ids"
            ) from error
        yield Job(
            job_id=number,
            arrival_ns=read.timestamp * 1_000_000,
            prompt_tokens=read.input_length,
            output_tokens=read.output_length,
            blocks=read.hash_ids,
        )
