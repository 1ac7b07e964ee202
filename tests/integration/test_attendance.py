"""Enrolled nodes earn for the time in which a gateway's own checks found them serving."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from raw_node import RawNode, ok
from served import MODEL, eventually, serve

from gateway.config import parse
from gateway.enrolment.attendance import LEASE as ATTENDANCE
from gateway.enrolment.attendance import Attendance
from gateway.enrolment.enrolment import invitation
from gateway.enrolment.node import Terms
from gateway.enrolment.node_check import NotServingError, check
from gateway.enrolment.node_store import NodeStore
from gateway.home import Home
from gateway.openai.request import Endpoint
from ide.replay import replay
from ide.settlement import stored_result
from metering.backend import open_database, open_ledger
from metering.database import Database
from metering.gpu_time_store import GpuTime, GpuTimeStore
from metering.lease import NOBODY, lease_row
from router.types import NodeRecord, NodeView
from serving.enrolment.messages import Hardware, Lease
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
MODELS = {"fake": (Endpoint.CHAT, Endpoint.COMPLETIONS)}
GPUS = 100_000
"""So that ten microseconds are a second of GPU time, and no machine is too fast to earn one."""
SECOND_NS = 10**9


def enrolled(
    database: Database, url: str, *, supplier: str = "alice", gpu: str = "H100-PCIe"
) -> str:
    """A node of the operator's terms with a lease for an hour; returns its id."""
    store, now_ns, node_id = NodeStore(database), time.time_ns(), f"n-{supplier}-{gpu or 'none'}"
    terms = Terms(supplier_id=supplier, gpu=gpu, gpus=GPUS)
    _, made = invitation(terms, now_ns + 60 * SECOND_NS)
    store.invite(made, now_ns)
    node = store.enrol(
        f"key-{node_id}", 1, digest=made.digest, node_id=node_id, hardware=Hardware(), now_ns=now_ns
    )
    assert node.terms == terms == store.find(node_id).terms
    said = Lease(state="ready", url=url, model="fake", capacity=4)
    assert store.lease(node_id, 1, said, now_ns=now_ns, until_ns=now_ns + 3_600 * SECOND_NS)
    return node_id


def attendance(database: Database, writer: str = "gw-a", views=tuple) -> Attendance:
    return Attendance(
        NodeStore(database),
        GpuTimeStore(database),
        database,
        writer=writer,
        models=MODELS,
        doors={},
        views=views,
    )


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    postgres = request.param == "postgres"
    where = request.getfixturevalue("postgres_url") if postgres else tmp_path / "ledger.db"
    open_ledger(where).close()  # makes the tables
    with contextlib.closing(open_database(where)) as made:
        yield made


@pytest.fixture
async def engine() -> AsyncIterator[FakeNode]:
    async with FakeNode() as made:
        yield made


def counted(database: Database) -> dict[str, int]:
    return {row.supplier_id: row.gpu_s for row in GpuTimeStore(database).over(0)}


def gpu_s_since(began_ns: int) -> int:
    return (time.monotonic_ns() - began_ns) * GPUS // SECOND_NS


async def rounds(*of: Attendance) -> None:
    for each in of:
        await asyncio.to_thread(each.round)


async def test_the_time_between_two_checks_counts_for_each_gpu(database, engine):
    enrolled(database, engine.url)
    enrolled(database, engine.url, supplier="bob", gpu="")
    here = attendance(database)
    began_ns = time.monotonic_ns()
    await rounds(here)
    assert counted(database) == {}
    await rounds(here)
    first = counted(database)["alice"]
    await rounds(here, here)
    most = gpu_s_since(began_ns)
    assert 0 < first < counted(database)["alice"] <= most
    assert counted(database).keys() == {"alice"}, "a node without a class has no rate"


async def test_a_node_that_fails_a_check_earns_nothing_on_either_side_of_it(database, engine):
    enrolled(database, engine.url)
    here = attendance(database)
    await rounds(here)
    await engine.inject(Fault(status=500, requests=1))
    await rounds(here, here)
    assert counted(database) == {}
    await rounds(here)
    assert counted(database)["alice"] > 0


async def test_a_node_whose_lease_is_over_is_not_counted(database, engine):
    node_id = enrolled(database, engine.url)
    here = attendance(database)
    await rounds(here)
    NodeStore(database).revoke(node_id, "gone", time.time_ns())
    await rounds(here, here)
    assert counted(database) == {}
    assert len(engine.received) == 1


async def test_a_node_of_bad_reputation_is_not_counted(database, engine):
    node_id = enrolled(database, engine.url)
    here = attendance(database)
    await rounds(here)
    await asyncio.to_thread(here.round, {node_id})
    await rounds(here)
    assert counted(database) == {}
    assert len(engine.received) == 2


async def test_who_the_router_bars_is_not_even_asked(database, engine, monkeypatch):
    monkeypatch.setattr("gateway.enrolment.attendance.ROUND_S", 0.01)
    async with FakeNode() as liar:
        barred_id = enrolled(database, liar.url, supplier="liar")
        enrolled(database, engine.url)
        barred = NodeView(node=NodeStore(database).find(barred_id).record(), standing=0.0)
        going_on = asyncio.create_task(attendance(database, views=lambda: (barred,)).run())
        await eventually(lambda: len(engine.received), (3).__le__)
        going_on.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going_on
        assert len(liar.received) == 0
    assert lease_row(database, ATTENDANCE).holder == NOBODY, "another may count at once"


async def test_of_two_gateways_one_counts_and_the_other_goes_on(database, engine):
    enrolled(database, engine.url)
    first, second = attendance(database), attendance(database, "gw-b")
    began_ns = time.monotonic_ns()
    await rounds(first, second, second, first)
    assert len(engine.received) == 2
    before = counted(database)["alice"]
    database.query("UPDATE lease SET holder = '' WHERE name = ?", ATTENDANCE)
    await rounds(second, first, second)
    most = gpu_s_since(began_ns)
    assert before < counted(database)["alice"] <= most
    assert len(engine.received) == 4


async def test_who_lost_the_lease_during_a_round_adds_nothing(database, engine, monkeypatch):
    enrolled(database, engine.url)
    first = attendance(database)
    await rounds(first)
    add = GpuTimeStore.add

    def late(store: GpuTimeStore, writer: str, batch: int, rows: list[GpuTime], *, lease: str):
        database.query("UPDATE lease SET holder = 'gw-b', beat = beat + 1 WHERE name = ?", lease)
        return add(store, writer, batch, rows, lease=lease)

    monkeypatch.setattr(GpuTimeStore, "add", late)
    await rounds(first)
    assert counted(database) == {}


async def test_a_batch_whose_answer_was_lost_counts_once(database, engine, monkeypatch):
    from metering.ledger import LedgerError

    enrolled(database, engine.url)
    here = attendance(database)
    await rounds(here)
    add = GpuTimeStore.add

    def unheard(*args, **named):
        add(*args, **named)
        raise LedgerError("the connection broke")

    with monkeypatch.context() as patched:
        patched.setattr(GpuTimeStore, "add", unheard)
        with pytest.raises(LedgerError):
            await rounds(here)
    written = counted(database)["alice"]
    began_ns = time.monotonic_ns()
    monkeypatch.setattr(here, "_count", lambda *_: None)
    await rounds(here)
    most = gpu_s_since(began_ns)
    assert written <= counted(database)["alice"] <= written + most
    assert counted(database)["alice"] == written, "nothing but the same batch was written"


@pytest.mark.parametrize("endpoint", list(Endpoint))
async def test_whatever_a_model_does_it_is_asked_for_that(engine, endpoint):
    await asyncio.to_thread(check, record(engine.url), [endpoint], None)
    assert engine.received[-1].path == endpoint.path


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no json", "no answer of a model"),
        (b'{"model":"fake"}', "no answer of a model"),
        (b'{"model":"m","usage":{"prompt_tokens":9,"completion_tokens":1}}', "answered as 'm'"),
        (b'{"model":"fake","usage":{"prompt_tokens":9,"completion_tokens":0}}', "one token"),
        (b'{"model":"fake","usage":{"prompt_tokens":0,"completion_tokens":1}}', "one token"),
    ],
)
async def test_what_is_no_answer_of_the_model_is_none(body, said):
    async with RawNode(ok(body)) as node:
        with pytest.raises(NotServingError, match=said):
            await asyncio.to_thread(check, record(node.url), [Endpoint.CHAT], None)


async def test_what_cannot_be_reached_does_not_serve(engine):
    url = engine.url
    await engine.stop()
    with pytest.raises(NotServingError, match="refused"):
        await asyncio.to_thread(check, record(url), [Endpoint.CHAT], None)
    with pytest.raises(NotServingError, match="certificate is not known"):
        await asyncio.to_thread(check, record("https://a:1"), [Endpoint.CHAT], None)


def record(url: str) -> NodeRecord:
    return NodeRecord(node_id="n", supplier_id="s", url=url, model="fake", capacity=1)


async def test_a_node_that_serves_nobody_is_paid_by_the_epochs_that_close_by_themselves(
    tmp_path, engine, monkeypatch
):
    monkeypatch.setattr("gateway.enrolment.attendance.ROUND_S", 0.05)
    Home(tmp_path).ide_file.write_text("epoch_s = 1\n")
    config = MODEL.format(server="").replace(
        "automatic = false", 'io_price_usd = "0.16"\nlease_s = 3'
    )
    config += '[enrolment]\nauthority = "gw.example"\nallow_http = true\n'
    async with serve(tmp_path, parse(config)) as gateway:
        with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
            enrolled(database, engine.url)
            with gateway.ledger() as ledger:

                def stipend() -> int:
                    reports = (stored_result(row).report for row in ledger.epochs())
                    return sum(report.stipend_nano_usd for report in reports)

                await eventually(stipend, bool, within_s=30)
                assert ledger.balance("io:supplier:alice").posted > 0
                assert replay(ledger, database).ok
