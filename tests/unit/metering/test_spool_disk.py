"""The spool's folder on a real disk: what it refuses, and the room that it takes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random

import pytest
from books import opened
from memory_folder import MemoryFolder, Moment

from metering import spool_log
from metering.spool import Spool
from metering.spool_disk import DiskFolder
from metering.spool_file import SpoolError
from metering.spool_log import SpoolLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool"


def test_files_that_are_no_spool_are_refused_by_name(path, tmp_path):
    Spool(path).close()
    (segment,) = path.glob("*.log")
    segment.write_bytes(b"this is no segment" * 100)
    with pytest.raises(SpoolError, match=rf"{segment.name} is no segment of a spool"):
        Spool(path)
    with pytest.raises(SpoolError, match="nowhere"):
        Spool(tmp_path / "nowhere" / "spool")
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="file"):
        Spool(tmp_path / "file")


def test_a_refused_spool_is_not_left_locked(path):
    Spool(path).close()
    (segment,) = path.glob("*.log")
    good = segment.read_bytes()
    segment.write_bytes(b"")
    with pytest.raises(SpoolError):
        Spool(path)
    segment.write_bytes(good)
    Spool(path).close()


def test_a_spool_in_sqlite_is_not_passed_over(path):
    old = path.with_name("spool.db")
    old.touch()
    with pytest.raises(SpoolError, match=r"spool\.db was written by a development version"):
        Spool(path)
    old.unlink()
    Spool(path).close()


def test_room_is_reserved_on_disk_and_given_back(path):
    spool = Spool(path)
    (segment,) = path.glob("*.log")
    assert segment.stat().st_size == spool_log.SEGMENT_BYTES
    spool.commit([opened("a")])
    assert segment.stat().st_size == spool_log.SEGMENT_BYTES
    assert segment.stat().st_blocks * 512 >= spool_log.SEGMENT_BYTES
    spool.close()
    assert sum(file.stat().st_size for file in path.iterdir()) < 4096


def test_a_real_disk_and_the_tests_own_agree(path):
    """The same writes, the same files."""
    real, memory = SpoolLog(DiskFolder(path), path, "gw"), MemoryFolder()
    SpoolLog(memory, path, "gw")
    assert [name for name in os.listdir(path) if name.endswith(".log")] == memory.names()
    folders = (DiskFolder(path), memory)
    for folder in folders:
        file = folder.create("made", 100)
        assert file.write(b"abc", 10) == 3
        file.sync()
        folder.rename("made", "named")
        file.truncate(12)
        assert (file.size(), file.read(99, 9)) == (12, b"\0ab")
        with contextlib.closing(folder.open("named")) as again:
            assert again.read(99, 10) == b"ab"
        file.close()
        folder.sync()
        folder.remove("named")
        assert "named" not in folder.names()
    real.close()


def test_a_write_is_durable_before_it_returns(path):
    with contextlib.closing(DiskFolder(path).create("made", 100)) as file:
        assert fcntl.fcntl(file._descriptor, fcntl.F_GETFL) & os.O_DSYNC == os.O_DSYNC


def test_the_tests_own_disk_loses_what_was_not_synced_and_keeps_what_was():
    ends = set()
    for seed in range(50):
        folder = MemoryFolder()
        file = folder.create("a", 0)
        file.write(b"x" * 40, 0)
        folder.sync()
        folder.create("b", 10)
        folder.faults = lambda step: Moment.DURING
        with pytest.raises(OSError, match="write"):
            file.write(b"y" * 40, 40)
        folder.faults = lambda step: None
        folder.cut_power(random.Random(seed))
        data = folder.open("a").read(99, 0)
        assert data.startswith(b"x" * 40)
        assert set(data[40:]) <= set(b"y\0")
        ends.add(("b" in folder.names(), data))
    assert len({has_b for has_b, _ in ends}) == 2
    assert {b"x" * 40, b"x" * 40 + b"y" * 40} < {data for _, data in ends}
