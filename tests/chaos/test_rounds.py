"""The short run of `make chaos ARGS='--only rounds'`, and proof that its verdict can fail."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from books import closed, deposit, opened, used

from metering.posting import close_group, hold_group
from metering.sqlite_ledger import SqliteLedger

from .load import Asked, read
from .rounds import lines, run
from .verdict import Nodes, faults

pytestmark = pytest.mark.anyio
ROUNDS = 3


@pytest.mark.parametrize(
    ("postgres", "victims"),
    [
        (False, {"worker", "gateway", "redis"}),
        (True, {"gateway and postgres", "session", "redis and postgres"}),
    ],
    ids=["sqlite", "postgres"],
)
async def test_what_is_killed_under_load_costs_no_charge_and_doubles_none(
    tmp_path, postgres, victims
):
    told: list[str] = []
    report = await run(tmp_path, ROUNDS, seed=3, tell=told.append, postgres=postgres)
    assert not report.failures, "\n".join(lines(report))
    assert (report.rounds, len(told)) == (ROUNDS, ROUNDS)
    assert set(report.killed) == victims
    assert report.ended["answered to the end"] > 100


class Books:
    """A ledger with one charge of `req_a`: 10 and 5 tokens, of alice who paid in a million."""

    def __init__(self, path) -> None:
        self.ledger = SqliteLedger(path)
        opening, close = opened("a"), closed("a", used(5))
        groups = [deposit("alice", 10**6), hold_group(opening), close_group(opening, close)]
        assert all(result.booked for result in self.ledger.post("test", groups))

    def faults(self, asked: list[Asked], made: int = 5, deposits: int = 10**6) -> list[str]:
        nodes = Nodes()
        nodes.made["req_a"] = made
        return faults(self.ledger, asked, nodes, {"alice": deposits})


@pytest.fixture
def books(tmp_path):
    made = Books(tmp_path / "ledger.db")
    with contextlib.closing(made.ledger):
        yield made


ANSWERED = Asked(1, "alice", True, "req_a", 200, usage=(10, 5))
CUT = Asked(1, "alice", True, "req_a", 200)


@pytest.mark.parametrize(
    ("asked", "made", "paid_in", "wrong"),
    [
        ([ANSWERED], 5, 10**6, None),
        ([CUT], 5, 10**6, None),
        ([CUT], 4, 10**6, "charged for 5 tokens, 4 were generated"),
        ([], 5, 10**6, "nobody asked"),
        ([ANSWERED], 5, 10**6 + 1, "paid in"),
        ([msgspec.structs.replace(ANSWERED, usage=(10, 6))], 5, 10**6, "for (10, 5)"),
        ([ANSWERED, msgspec.structs.replace(ANSWERED, request_id="req_b")], 5, 10**6, "0 times"),
        ([msgspec.structs.replace(CUT, status=402)], 5, 10**6, "refused and charged"),
        ([msgspec.structs.replace(CUT, status=429)], 5, 10**6, "no such answer"),
        ([msgspec.structs.replace(CUT, status=401)], 5, 10**6, "no such answer"),
    ],
)
async def test_the_verdict_finds(books, asked, made, paid_in, wrong):
    found = books.faults(asked, made, paid_in)
    assert [wrong in each for each in found] == ([] if wrong is None else [True])


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (
            b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\ndata: [DONE]\n\n',
            (3, 2),
        ),
        (b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n', None),
    ],
)
async def test_an_end_was_seen_only_if_it_was(body, usage):
    asked = Asked(1, "alice", True)
    read(asked, b"HTTP/1.1 200 OK\r\nx-request-id: req_a\r\n\r\n" + body)
    assert asked.usage == usage
