"""What is kept of an answer, and that it is never more than there is room for."""

from __future__ import annotations

from gateway.exchange.sample import SAMPLE_BYTES_MAX, Sample, SampleRoom


def test_bytes_come_back_and_give_the_room_back():
    room = SampleRoom(100)
    sample = Sample(room)
    sample.add(b"one ")
    sample.add(b"two")
    assert (sample.answer, room.left) == (b"one two", 93)
    sample.clear()
    assert (sample.answer, room.left, sample.lost) == (b"", 100, False)
    sample.add(b"x")
    assert room.left == 99


def test_a_sample_beyond_the_shared_room_is_lost_and_holds_nothing():
    room = SampleRoom(10)
    one, other = Sample(room), Sample(room)
    one.add(b"12345678")
    other.add(b"123")
    assert (other.lost, other.answer, room.left) == (True, b"", 2)
    other.add(b"1")
    assert (other.answer, room.left) == (b"", 2)
    assert one.answer == b"12345678"
    assert not one.hold(3)
    assert (one.lost, room.left) == (True, 10)


def test_one_answer_has_a_bound_of_its_own():
    room = SampleRoom(10 * SAMPLE_BYTES_MAX)
    sample = Sample(room)
    assert sample.hold(SAMPLE_BYTES_MAX)
    assert not sample.hold(1)
    assert room.left == 10 * SAMPLE_BYTES_MAX
