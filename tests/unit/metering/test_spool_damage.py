"""The log after any crash and any damage: all of it, a clean cut of its end, or an error."""

from __future__ import annotations

import re
import struct
from contextlib import closing

import pytest
from books import opened
from memory_folder import Content, MemoryFolder
from spooled import (
    BATCHES,
    ROWS,
    SEGMENT_BYTES,
    copy_with,
    everything,
    folded,
    many_segments,
    only,
    open_log,
    record_ends,
    written,
)

from metering import spool_log
from metering.spool_file import (
    FORMAT,
    SpoolError,
    decode_record,
    encode_record,
    holds_record,
    record_size,
)
from metering.spool_segment import read_header


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", SEGMENT_BYTES)


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
