"""The load generator's reader: the same figures however the bytes are cut."""

from __future__ import annotations

from random import Random

import pytest
from bench.asker import Asker
from bench.node_bytes import frames, whole

EVENTS = 9


class Heard:
    """An `asker.Owner` that writes down what it is told."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.answers: list[bool] = []

    def events(self, asker, count, now_s):
        self.counts.append(count)

    def answered(self, asker, now_s):
        self.answers.append(asker.good)

    def lost(self, asker):
        raise AssertionError("nothing was lost")


class Sink:
    """A transport that takes everything."""

    def write(self, data):
        pass


def asking() -> tuple[Asker, Heard]:
    heard = Heard()
    asker = Asker(heard)
    asker.connection_made(Sink())
    asker.ask(b"")
    return asker, heard


@pytest.mark.parametrize("seed", range(20))
def test_events_are_counted_however_the_stream_is_cut(seed):
    data, rng = b"".join(frames(EVENTS, running=True, closing=True)), Random(seed)
    asker, heard = asking()
    while data:
        size = rng.choice([1, 2, 7, 60, 400])
        asker.data_received(data[:size])
        data = data[size:]
    # The closing event with the total is one more.
    assert (sum(heard.counts), heard.answers, asker.busy) == (EVENTS + 1, [True], False)


def test_events_are_counted_byte_by_byte():
    asker, heard = asking()
    for byte in b"".join(frames(EVENTS, running=False, closing=False)):
        asker.data_received(bytes([byte]))
    assert (sum(heard.counts), heard.answers) == (EVENTS, [True])


@pytest.mark.parametrize("cut", [1, 30, 100, 600])
def test_an_answer_of_known_length_ends_with_its_last_byte(cut):
    data = whole()
    asker, heard = asking()
    asker.data_received(data[:cut])
    asker.data_received(data[cut:-1])
    assert heard.answers == []
    asker.data_received(data[-1:])
    assert heard.answers == [True]


def test_another_status_is_no_good_answer():
    asker, heard = asking()
    asker.data_received(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}")
    assert heard.answers == [False]


def test_a_connection_serves_one_request_after_another():
    asker, heard = asking()
    for _ in range(3):
        asker.ask(b"")
        asker.data_received(whole())
    assert heard.answers == [True] * 3
