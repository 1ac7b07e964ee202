"""The spool's log under any rows, any order of calls and any end, against a list of rows."""

from __future__ import annotations

import random

import pytest
from books import closed, opened, progressed, used
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from memory_folder import MemoryFolder, Moment
from spooled import everything, folded, open_log

from metering import spool_log
from metering.charge import Row
from metering.spool_file import (
    SALT_BYTES,
    Header,
    decode_header,
    decode_record,
    decode_rows,
    encode_header,
    encode_record,
    header_size,
    holds_record,
    record_size,
)

names = st.text(max_size=40)
counts = st.integers(0, 2**62)
usages = st.builds(used, counts, counts)
short = st.sampled_from("abcdef")
rows: st.SearchStrategy[Row] = st.one_of(
    st.builds(opened, names, account=names, hold=counts),
    st.builds(progressed, names, counts),
    st.builds(closed, names, st.none() | usages),
)
few_rows = st.lists(
    st.one_of(
        st.builds(opened, short),
        st.builds(progressed, short, st.integers(0, 9)),
        st.builds(closed, short, st.builds(used, st.integers(0, 9))),
    ),
    min_size=1,
    max_size=6,
)
salts = st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES)


@given(salts, st.integers(1, 2**63), st.lists(rows, max_size=20))
def test_a_record_reads_back_as_it_was_written(salt, first_seq, batch):
    data = encode_record(salt, first_seq, batch)
    assert record_size(data, salt) == len(data)
    record = decode_record(data, salt)
    assert record is not None
    assert (record.first_seq, record.rows) == (first_seq, len(batch))
    assert decode_rows(record.body) == batch


@given(names, st.integers(1, 2**63), salts, st.lists(rows, max_size=20))
def test_a_header_reads_back_as_it_was_written(writer, first_seq, salt, open_rows):
    header = Header(writer, first_seq, salt, open_rows)
    data = encode_header(header)
    assert header_size(data) == len(data)
    assert decode_header(data) == header


@given(salts, st.lists(rows, min_size=1, max_size=5), st.data())
def test_what_is_not_the_whole_record_is_none(salt, batch, data):
    record = encode_record(salt, 1, batch)
    at = data.draw(st.integers(0, len(record) - 1))
    kept = data.draw(st.integers(0, 255).filter(lambda byte: byte != record[at]))
    assert decode_record(record[:at], salt) is None
    assert decode_record(record + b"x", salt) is None
    assert decode_record(record[:at] + bytes([kept]) + record[at + 1 :], salt) is None


@given(salts, st.binary(max_size=300), st.binary(max_size=300))
def test_a_record_is_found_behind_anything(salt, before, behind):
    record = encode_record(salt, 3, [opened("a")])
    assert holds_record(before + record + behind, salt)
    assert not holds_record(before + record[:-1], salt) or salt in before


class Log(RuleBasedStateMachine):
    """A log that is written, read, forgotten, killed and cut off from power in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = MemoryFolder()
        self.log = open_log(self.folder)
        self.rows: list[Row] = []
        self.forgotten = 0

    @rule(batch=few_rows)
    def append(self, batch: list[Row]) -> None:
        self.log.append(batch)
        self.rows += batch

    @rule(part=st.floats(0, 1))
    def forget(self, part: float) -> None:
        self.forgotten += int(part * (len(self.rows) - self.forgotten))
        self.log.forget(self.forgotten)

    @rule()
    def end_orderly(self) -> None:
        self.log.seal()
        self.log.close()
        self.log = open_log(self.folder)

    @rule(
        batch=few_rows, moment=st.sampled_from(Moment), cuts=st.booleans(), seed=st.integers(0, 99)
    )
    def die_in_an_append(self, batch: list[Row], moment: Moment, cuts: bool, seed: int) -> None:
        failing = random.Random(seed).choice(("write", "create", "sync", "rename", "sync folder"))
        self.folder.faults = lambda step: moment if step == failing else None
        try:
            self.log.append(batch)
            self.rows += batch
        except OSError:
            self.unsure = batch
        else:
            self.unsure = []
        self.folder.faults = lambda step: None
        if cuts:
            self.folder.cut_power(random.Random(seed))
        self.log = open_log(self.folder)
        if self.log.last_seq > len(self.rows):
            self.rows += self.unsure

    @rule(seq=st.floats(0, 1), most=st.integers(1, 50))
    def read(self, seq: float, most: int) -> None:
        after = self.forgotten + int(seq * (len(self.rows) - self.forgotten))
        found = self.log.read(after, most)
        assert found == self.rows[after : after + len(found)]
        assert len(found) >= min(most, len(self.rows) - after)
        assert self.log.open_charges(after).rows() == folded(self.rows[:after])

    @invariant()
    def holds_all_rows(self) -> None:
        assert self.log.last_seq == len(self.rows)
        assert self.log.forgotten_seq <= self.forgotten
        assert everything(self.log) == self.rows[self.log.forgotten_seq :]

    @invariant()
    def takes_little_room(self) -> None:
        held = sum(len(content.memory) for content in self.folder.files.values())
        assert held < 3000 + 400 * (len(self.rows) - self.log.forgotten_seq)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", 700)


class TestLog(Log.TestCase):
    settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
