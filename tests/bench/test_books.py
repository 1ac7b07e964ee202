"""The books are held against what was sent: each way in which they can be wrong is named."""

from __future__ import annotations

import msgspec
import pytest
from bench.books import Books, BooksError, faults, told
from bench.job import Counted
from bench.mock_node import Tally
from bench.node_bytes import PROMPT

SENT = Counted(sent=12, finished=10, finished_tokens=1_000, cut=2, cut_tokens=30)
WROTE = Tally(finished=10, finished_tokens=1_000, cut=2, cut_tokens=34)
RIGHT = Books(
    charges=12,
    requests=12,
    prompt_tokens=12 * len(PROMPT),
    completion_tokens=1_032,
    by_outcome={"completed": 10, "client_gone": 2},
    held_nano_usd=0,
)


@pytest.mark.parametrize("tokens", [1_030, 1_034])
def test_a_cut_stream_is_charged_between_what_arrived_and_what_was_written(tokens):
    books = msgspec.structs.replace(RIGHT, completion_tokens=tokens)
    assert faults(books, SENT, WROTE) == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"charges": 11, "requests": 11}, "11 charges for 12 requests"),
        ({"charges": 13}, "13 charges for 12 requests"),
        ({"requests": 11}, "only 11 different"),
        ({"prompt_tokens": 0}, "0 prompt tokens"),
        ({"completion_tokens": 1_029}, "1029 completion tokens"),
        ({"completion_tokens": 1_035}, "1035 completion tokens"),
        ({"held_nano_usd": 5}, "5 nano-USD are still held"),
    ],
)
def test_wrong_books_are_named(change, names):
    found = faults(msgspec.structs.replace(RIGHT, **change), SENT, WROTE)
    assert names in "; ".join(found)


def test_a_failed_request_is_a_fault():
    failed = msgspec.structs.replace(SENT, failed=1)
    assert faults(RIGHT, failed, WROTE) == ["1 of 12 requests failed"]


def test_without_cut_streams_the_tokens_are_exact_to_the_last():
    sent = Counted(sent=12, finished=12, finished_tokens=1_032)
    assert faults(RIGHT, sent, Tally(finished=12, finished_tokens=1_032)) == []
    assert faults(RIGHT, sent, Tally(finished=12, finished_tokens=1_033)) != []


def test_the_last_line_of_the_log_is_the_books():
    line = msgspec.json.encode(RIGHT).decode()
    assert told(f"WARNING: something\nbooks: {line}\n") == RIGHT


def test_a_gateway_that_tells_no_books_is_an_error_with_its_log():
    with pytest.raises(BooksError, match="Segmentation"):
        told("Segmentation fault")
