"""Logs of a spool in memory, and what is in them."""

from __future__ import annotations

from pathlib import Path

from books import closed, opened, progressed, used
from memory_folder import Content, MemoryFolder

from metering.charge import OpenCharges
from metering.spool_log import SpoolLog

PATH = Path("spool")
SEGMENT_BYTES = 1200
"""Small, so that a few rows fill one."""
BATCHES = [
    [opened("a")],
    [progressed("a", 3), opened("b")],
    [closed("a", used(5))],
    [progressed("b", 2)],
]
ROWS = [row for batch in BATCHES for row in batch]


def open_log(folder: MemoryFolder) -> SpoolLog:
    return SpoolLog(folder, PATH, "gateway")


def written(*batches) -> MemoryFolder:
    """Left without an orderly end."""
    folder = MemoryFolder()
    log = open_log(folder)
    for batch in batches:
        log.append(batch)
    return folder


def everything(log: SpoolLog):
    return log.read(log.forgotten_seq, 10**6)


def folded(rows):
    charges = OpenCharges()
    for row in rows:
        charges.take(row)
    return charges.rows()


def only(folder: MemoryFolder) -> Content:
    (content,) = folder.files.values()
    return content


def copy_with(folder: MemoryFolder, name: str, data: bytes) -> MemoryFolder:
    copy = MemoryFolder()
    copy.files = {known: Content(bytes(content.memory)) for known, content in folder.files.items()}
    copy.files[name] = Content(data)
    return copy


def record_ends(batches) -> list[int]:
    folder = written()
    log = open_log(folder)
    ends = [log._file.end]
    for batch in batches:
        log.append(batch)
        ends.append(log._file.end)
    return ends


def many_segments(folder: MemoryFolder, rows: int = 40) -> MemoryFolder:
    log = open_log(folder)
    for i in range(rows):
        log.append([opened(f"c{i}"), closed(f"c{i}")] if i % 4 else [opened(f"open-{i}")])
    assert len(folder.files) > 4
    return folder
