"""The log after any crash and on any bad disk: all of it, a clean cut, or an error."""

from __future__ import annotations

import errno
import re
import struct
from contextlib import closing
from pathlib import Path

import pytest
from books import closed, opened, progressed, used
from memory_folder import Content, MemoryFolder, Moment

from metering import spool_log
from metering.charge import OpenCharges, Row
from metering.spool_file import (
    FORMAT,
    SpoolError,
    decode_record,
    encode_record,
    holds_record,
    record_size,
)
from metering.spool_log import SpoolLog
from metering.spool_segment import read_header

PATH = Path("spool")
BATCHES = [
    [opened("a")],
    [progressed("a", 3), opened("b")],
    [closed("a", used(5))],
    [progressed("b", 2)],
]
ROWS = [row for batch in BATCHES for row in batch]


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", 1200)


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
    ends = [log._end]
    for batch in batches:
        log.append(batch)
        ends.append(log._end)
    return ends


# What a crash leaves.


def test_a_killed_gateways_log_is_found_as_it_was():
    folder = written(*BATCHES)
    log = open_log(folder)
    assert everything(log) == ROWS
    assert log.last_seq == len(ROWS)
    for upto in range(len(ROWS) + 1):
        assert log.open_charges(upto).rows() == folded(ROWS[:upto])


@pytest.mark.parametrize("behind", [b"", bytes(50), b"\xa5" * 50], ids=["end", "zeros", "garbage"])
def test_any_prefix_of_a_write_is_cut_off(behind):
    folder = written(*BATCHES)
    ((name, content),) = folder.files.items()
    ends = record_ends(BATCHES)
    rows_by = [0, 1, 3, 4, 5]
    for cut in range(ends[0], ends[-1]):
        data = bytes(content.memory[:cut]) + behind
        log = open_log(copy_with(folder, name, data))
        whole = max(i for i, end in enumerate(ends) if data[:end] == content.memory[:end])
        assert everything(log) == ROWS[: rows_by[whole]], f"cut at {cut}"
        log.append([opened("next")])
        assert everything(log)[-1] == opened("next")


def test_sectors_that_came_without_the_ones_before_are_cut_off():
    folder = written(*BATCHES)
    ((name, content),) = folder.files.items()
    *_, start, end = record_ends(BATCHES)
    for gap in range(1, end - start):
        data = bytearray(content.memory)
        data[start : start + gap] = bytes(gap)
        log = open_log(copy_with(folder, name, bytes(data)))
        assert everything(log) == ROWS[:-1], f"gap of {gap}"


def test_what_was_cut_off_is_told_and_stays_out_for_ever(caplog):
    folder = written(*BATCHES)
    content = only(folder)
    end = record_ends(BATCHES)[-1]
    del content.memory[end - 1 :]
    open_log(folder).append([opened("next")])
    assert "left out" in caplog.text
    caplog.clear()
    log = open_log(folder)
    assert everything(log) == [*ROWS[:-1], opened("next")]
    assert not caplog.text


def test_reserved_room_is_no_torn_write(caplog):
    open_log(written(*BATCHES))
    assert not caplog.text


def test_a_new_segment_counts_from_its_name_on():
    folder = written(*BATCHES)
    folder.files["new"] = Content(b"half a header")
    assert everything(open_log(folder)) == ROWS


# Damage.


def test_a_flipped_bit_is_never_read_as_a_row():
    folder = written(*BATCHES)
    ((name, content),) = folder.files.items()
    last, end = record_ends(BATCHES)[-2:]
    for at in range(len(content.memory)):
        data = bytearray(content.memory)
        data[at] ^= 1 << (at % 8)
        flipped = copy_with(folder, name, bytes(data))
        if at < last:
            with pytest.raises(SpoolError, match=rf"{name} (is damaged|is no|has format)"):
                open_log(flipped)
        else:  # of the newest record alone nobody can say whether it was ever whole
            assert everything(open_log(flipped)) == (ROWS[:-1] if at < end else ROWS)


def test_after_an_orderly_end_every_flipped_bit_is_an_error():
    folder = written(*BATCHES)
    log = open_log(folder)
    log.seal()
    name = min(folder.files)
    data = bytes(folder.files[name].memory)
    for at in range(record_ends(BATCHES)[-1]):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(SpoolError, match=name):
            open_log(copy_with(folder, name, bytes(flipped)))


def test_damage_says_where_it_is_and_what_to_do():
    folder = written(*BATCHES)
    ((name, content),) = folder.files.items()
    second = record_ends(BATCHES)[1]
    content.memory[second + 30] ^= 1
    with pytest.raises(
        SpoolError,
        match=rf"spool/{name} is damaged at byte {second}: row 2 and those after it .* Bring back",
    ):
        open_log(folder)


def test_damage_that_comes_while_it_is_read_is_found():
    folder = written()
    log = open_log(folder)
    for batch in BATCHES:
        log.append(batch)
    only(folder).memory[record_ends(BATCHES)[2] - 1] ^= 1
    assert log.read(0, 1) == ROWS[:1]
    with pytest.raises(SpoolError, match="is damaged at byte"):
        log.read(1, 1)


def test_a_record_of_another_segment_is_no_record_of_this_one():
    """Even at the right place, with the right number."""
    folder = written(*BATCHES)
    other = written(*BATCHES)
    ((name, content),) = folder.files.items()
    start, end = record_ends(BATCHES)[-2:]
    data = content.memory[:start] + only(other).memory[start:end]
    assert everything(open_log(copy_with(folder, name, bytes(data)))) == ROWS[:-1]


def test_a_record_with_another_number_is_damage():
    folder = written(*BATCHES)
    content = only(folder)
    header, _ = read_header(folder.open(min(folder.files)))
    end = record_ends(BATCHES)[-1]
    record = encode_record(header.salt, 99, [opened("from elsewhere")])
    content.memory[end : end + len(record)] = record
    with pytest.raises(SpoolError, match=f"damaged at byte {end}"):
        open_log(folder)


def test_a_segment_of_another_format_is_left_alone():
    folder = written(*BATCHES)
    only(folder).memory[8:12] = struct.pack("<I", 7)
    with pytest.raises(SpoolError, match=f"has format 7, this Tollgate knows {FORMAT}"):
        open_log(folder)


def test_segments_that_do_not_belong_together_are_refused():
    folder = many_segments(MemoryFolder())
    first, second, third, *_ = sorted(folder.files)
    missing = dict(folder.files)
    del missing[second]
    renamed = dict(folder.files)
    renamed["00000000000000000099.log"] = renamed.pop(third)
    mixed = dict(folder.files)
    mixed[first] = many_segments(MemoryFolder()).files[first]
    for files, problem in (
        (missing, rf"{first} is damaged at byte \d+: row \d+ to \d+ cannot be read"),
        (renamed, r"0099\.log was begun for row \d+: it does not belong here"),
        (mixed, "is of gateway-.*, the ones before of gateway-"),
    ):
        broken = MemoryFolder()
        broken.files = files
        with pytest.raises(SpoolError, match=problem):
            open_log(broken)


# Segments.


def many_segments(folder: MemoryFolder, rows: int = 40) -> MemoryFolder:
    log = open_log(folder)
    for i in range(rows):
        log.append([opened(f"c{i}"), closed(f"c{i}")] if i % 4 else [opened(f"open-{i}")])
    assert len(folder.files) > 4
    return folder


def test_a_full_segment_is_followed_by_another():
    folder = MemoryFolder()
    log = open_log(folder)
    rows = []
    while len(folder.files) < 5:
        rows.append([opened(f"c{len(rows)}")])
        log.append(rows[-1])
    assert all(len(content.memory) <= 2 * 1200 for content in folder.files.values())
    assert everything(log) == [row for batch in rows for row in batch]
    assert everything(open_log(folder)) == [row for batch in rows for row in batch]


def test_a_batch_larger_than_a_segment_gets_one_of_its_own():
    folder = MemoryFolder()
    log = open_log(folder)
    large = [opened(f"c{i}") for i in range(100)]
    for batch in ([opened("before")], large, [opened("after")]):
        log.append(batch)
    assert everything(open_log(folder)) == [opened("before"), *large, opened("after")]


def test_forgetting_at_any_row_and_starting_again_keeps_all_after_it():
    reference = open_log(many_segments(MemoryFolder()))
    rows = everything(reference)
    removed = set()
    for upto in range(len(rows) + 1):
        folder = many_segments(MemoryFolder())
        log = open_log(folder)
        log.forget(upto)
        for found in (log, open_log(folder)):
            forgotten = found.forgotten_seq
            removed.add(forgotten)
            assert forgotten <= upto
            assert found.last_seq == len(rows)
            assert found.read(upto, 10**6) == rows[upto:]
            for seq in (forgotten, upto, len(rows)):
                assert found.open_charges(seq).rows() == folded(rows[:seq])
    assert len(removed) > 4
    assert max(removed) == len(rows)


def test_the_disk_holds_little_more_than_the_ledger_lacks():
    folder = MemoryFolder()
    log = open_log(folder)
    for i in range(2000):
        log.append([opened(f"c{i}"), closed(f"c{i}")])
        log.forget(log.last_seq - 5)
        assert sum(len(content.memory) for content in folder.files.values()) < 4 * 1200
    assert log.last_seq == 4000


def test_an_orderly_end_with_all_in_the_ledger_leaves_a_header():
    folder = many_segments(MemoryFolder())
    log = open_log(folder)
    log.append([opened("last")])
    last_seq = log.last_seq
    still_open = log.open_charges(last_seq).rows()
    log.seal()
    log.forget(last_seq)
    log.close()
    content = only(folder)
    again = open_log(folder)
    assert len(content.memory) < 1200 + 100 * len(still_open)
    assert again.last_seq == again.forgotten_seq == last_seq
    assert again.open_charges(last_seq).rows() == still_open


def test_starting_over_and_over_makes_no_heap_of_files():
    folder = written(*BATCHES)
    for _ in range(10):
        open_log(folder)
    assert len(folder.files) == 2


def test_reading_goes_on_where_it_was_and_anywhere_else():
    folder = many_segments(MemoryFolder())
    log = open_log(folder)
    rows = everything(log)
    for step in (1, 3, 7):
        seq = 0
        while found := log.read(seq, step):
            assert found == rows[seq : seq + len(found)]
            assert len(found) >= min(step, len(rows) - seq)
            seq += len(found)
        assert seq == len(rows)
    for seq in reversed(range(len(rows))):
        assert log.read(seq, 1)[0] == rows[seq]


def test_rows_before_the_first_are_not_made_up():
    folder = many_segments(MemoryFolder())
    log = open_log(folder)
    log.forget(log.last_seq)
    with pytest.raises(SpoolError, match="holds no row 1, the first is"):
        log.read(0, 1)


# A disk that fails.


def test_short_writes_are_completed():
    folder = MemoryFolder()
    folder.bytes_a_write = 7
    log = open_log(folder)
    for batch in BATCHES:
        log.append(batch)
    assert everything(open_log(folder)) == ROWS


def test_a_disk_that_takes_nothing_is_an_error():
    folder = MemoryFolder()
    log = open_log(folder)
    folder.bytes_a_write = 0
    with pytest.raises(OSError, match="takes no more"):
        log.append(BATCHES[0])


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_after_a_failed_write_nothing_is_written_ever_again(moment, code):
    folder = MemoryFolder()
    log = open_log(folder)
    log.append(BATCHES[0])
    folder.error = code
    folder.faults = lambda step: moment if step == "write" else None
    with pytest.raises(OSError, match="write") as raised:
        log.append(BATCHES[1])
    assert raised.value.errno == code
    folder.faults = lambda step: None
    before = bytes(only(folder).memory)
    with pytest.raises(OSError, match="failed before"):
        log.append(BATCHES[1])
    with pytest.raises(OSError, match="failed before"):
        log.seal()
    assert bytes(only(folder).memory) == before
    found = everything(open_log(folder))
    assert found in (ROWS[:1], ROWS[:3])


@pytest.mark.parametrize("step", ["create", "write", "sync", "rename", "sync folder", "truncate"])
@pytest.mark.parametrize("moment", list(Moment))
def test_a_segment_that_cannot_be_begun_fails_the_write_and_loses_nothing(step, moment):
    folder = MemoryFolder()
    log = open_log(folder)
    durable: list[Row] = []
    batch: list[Row] = [opened("c" * 50)]

    def append_often() -> None:
        for _ in range(10):
            log.append(batch)
            durable.extend(batch)

    folder.faults = lambda what: moment if len(folder.files) > 1 and what == step else None
    if step == "create":
        folder.faults = lambda what: moment if what == step else None
    with pytest.raises(OSError, match=step):
        append_often()
    folder.faults = lambda what: None
    assert durable
    found = everything(open_log(folder))
    assert found[: len(durable)] == durable
    assert len(found) <= len(durable) + 1


def test_a_disk_that_fails_at_the_start_is_an_error():
    folder = written(*BATCHES)
    for step in ("open", "read", "sync", "create", "write", "rename", "sync folder"):
        folder.faults = lambda what, step=step: Moment.BEFORE if what == step else None
        with pytest.raises(OSError, match=step):
            open_log(folder)
    folder.faults = lambda what: None
    assert everything(open_log(folder)) == ROWS


# Records by themselves.


def test_a_sound_record_is_found_anywhere():
    salt = b"\x01\x02\x01\x02\x01\x02\x01\x02"
    record = encode_record(salt, 5, ROWS)
    assert record_size(record, salt) == len(record)
    found = decode_record(record, salt)
    assert found is not None
    assert found[:2] == (5, len(ROWS))
    for before in (b"", b"\x01\x02", salt[:7], salt, record[:-1]):
        assert holds_record(before + record + b"behind", salt)
    assert not holds_record(record[:-1], salt)
    assert not holds_record(record[1:], salt)
    assert not holds_record(record, bytes(8))


def test_a_salt_is_never_twice_the_same():
    salts = set()
    for _ in range(5):
        folder = written(BATCHES[0])
        with closing(folder.open(min(folder.files))) as file:
            salts.add(read_header(file)[0].salt)
    assert len(salts) == 5
    assert all(re.fullmatch(rb".{8}", salt, re.DOTALL) for salt in salts)
