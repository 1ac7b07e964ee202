"""Several gateways, one Redis, one ledger: never over, and nothing usable is left lying."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from books import deposit
from member import Orders, Report
from redis_process import RedisProcess

from metering.accounts import USD_SHORTFALL, customer
from metering.limits import Limits
from metering.sqlite_ledger import SqliteLedger

HOLD = 12_000
MEMBERS = 3


class Cluster:
    """Processes that share what is in this folder."""

    def __init__(self, folder: Path, redis: RedisProcess, balance: int) -> None:
        self.folder = folder
        self.redis = redis
        self.balance = balance
        with contextlib.closing(SqliteLedger(folder / "ledger.db")) as ledger:
            ledger.post("test", [deposit("alice", balance)])

    def start(self, name: str, **orders) -> subprocess.Popen:
        told = Orders(
            ledger=str(self.folder / "ledger.db"),
            spool=str(self.folder / f"{name}.db"),
            redis_url=self.redis.url,
            **orders,
        )
        path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "member.py"),
             msgspec.json.encode(told).decode()],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        return process

    def ready(self, *processes: subprocess.Popen) -> None:
        for process in processes:
            assert process.stdout.readline() == b"ready\n"

    def end(self, process: subprocess.Popen) -> Report:
        with process.stdout:
            (line,) = process.stdout.readlines()
        assert process.wait(60) == 0
        return msgspec.json.decode(line, type=Report)

    def kill(self, process: subprocess.Popen) -> None:
        process.kill()
        process.wait()
        process.stdout.close()

    def posted(self) -> int:
        with contextlib.closing(SqliteLedger(self.folder / "ledger.db")) as ledger:
            return ledger.balance(customer("alice")).posted

    def spent_beyond(self, amount: int) -> None:
        """Wait until this much is booked."""
        deadline = time.monotonic() + 30
        while self.balance - self.posted() < amount:
            assert time.monotonic() < deadline, f"{self.balance - self.posted()} is booked"
            time.sleep(0.01)

    def stalled(self) -> None:
        """Wait until nothing has been booked for a second and a half."""
        deadline = time.monotonic() + 30
        posted, since = self.posted(), time.monotonic()
        while time.monotonic() < since + 1.5:
            assert time.monotonic() < deadline, "money is still spent"
            if self.posted() != posted:
                posted, since = self.posted(), time.monotonic()
            time.sleep(0.05)

    def assert_books(self, charged: int) -> None:
        """Exactly this was charged, nobody was overdrawn and the network bore nothing."""
        with contextlib.closing(SqliteLedger(self.folder / "ledger.db")) as ledger:
            assert ledger.verify().ok
            balance = ledger.balance(customer("alice"))
            assert ledger.balance(USD_SHORTFALL).posted == 0
            assert balance.debits_pending == 0
            assert balance.posted == self.balance - charged >= 0

    def assert_nothing_was_lost(self) -> None:
        """All was spent that could be, by no more than there was, and no process knew how much."""
        posted = self.posted()
        assert 0 <= posted < HOLD
        self.assert_books(self.balance - posted)


def test_a_balance_is_spent_to_the_last_hold_and_never_beyond(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 300 * HOLD)
    members = [
        cluster.start(f"m{i}", requests=500, used_min=20, pause_s=0.002, seed=i)
        for i in range(MEMBERS)
    ]
    cluster.ready(*members)
    reports = [cluster.end(member) for member in members]
    assert sum(report.served for report in reports) == 300
    assert all(set(report.refused) == {"credit"} for report in reports)
    cluster.assert_books(300 * HOLD)


def test_what_holds_leave_over_is_spent_too(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 300 * HOLD)
    members = [cluster.start(f"m{i}", requests=600, pause_s=0.01, seed=i) for i in range(MEMBERS)]
    reports = [cluster.end(member) for member in started(cluster, members)]
    charged = 600 * sum(report.tokens for report in reports)
    cluster.assert_books(charged)
    assert cluster.balance - charged < HOLD


def test_limits_of_a_minute_hold_over_all(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 10**12)
    limits = Limits(requests_per_minute=500, tokens_per_minute=4000)
    members = [
        cluster.start(f"m{i}", requests=700, limits=limits, pause_s=0.005, seed=i)
        for i in range(MEMBERS)
    ]
    reports = [cluster.end(member) for member in started(cluster, members)]
    requests = [request for report in reports for request in report.requests]
    assert max(end for _, end, _ in requests) - min(start for start, _, _ in requests) < 60 * 10**9
    tokens = sum(used for _, _, used in requests)
    assert 4000 - 20 < tokens <= 4000
    assert len(requests) <= 500


def test_requests_a_minute_are_used_to_the_last_one(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 10**12)
    limits = Limits(requests_per_minute=500)
    members = [
        cluster.start(f"m{i}", requests=600, limits=limits, pause_s=0.005, seed=i)
        for i in range(MEMBERS)
    ]
    reports = [cluster.end(member) for member in started(cluster, members)]
    assert sum(report.served for report in reports) == 500
    assert all(set(report.refused) == {"requests"} for report in reports)


def test_requests_at_once_hold_over_all_and_outlive_a_killed_member(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 10**12)
    orders = {"limits": Limits(concurrent_requests=5), "at_once": 8, "held_s": 0.02}
    doomed = cluster.start("doomed", **orders)
    members = [
        cluster.start(f"m{i}", requests=1500, pause_s=0.02, seed=i, **orders) for i in range(2)
    ]
    cluster.ready(doomed, *members)
    cluster.spent_beyond(1)
    cluster.kill(doomed)
    killed_ns = time.monotonic_ns()
    reports = [cluster.end(member) for member in members]
    requests = [request for report in reports for request in report.requests]
    starts = [(start, 1) for start, _, _ in requests]
    ends = [(end, -1) for _, end, _ in requests]
    running = peak = peak_later = 0
    for at_ns, change in sorted(starts + ends):
        running += change
        peak = max(peak, running)
        if at_ns > killed_ns + 3 * 10**9:
            peak_later = max(peak_later, running)
    assert peak <= 5
    assert peak_later == 5, "the places of the dead member never came back"


def test_money_of_a_killed_member_waits_for_its_spool(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 600 * HOLD)
    doomed = cluster.start("doomed", used_min=20)
    other = cluster.start("other", used_min=20, pause_s=0.05)
    cluster.ready(doomed, other)
    cluster.spent_beyond(100 * HOLD)
    cluster.kill(doomed)
    again = cluster.start("doomed", used_min=20, pause_s=0.05, seed=1)
    cluster.ready(again)
    cluster.spent_beyond(600 * HOLD)
    for member in (other, again):
        member.send_signal(signal.SIGTERM)
        cluster.end(member)
    cluster.assert_nothing_was_lost()


@pytest.mark.parametrize("disaster", ["flush", "restart", "rollback"])
def test_redis_that_forgets_loses_no_money(tmp_path, redis, disaster):
    cluster = Cluster(tmp_path, redis, 3000 * HOLD)
    orders = {"used_min": 10, "pause_s": 0.02}
    members = [cluster.start(f"m{i}", seed=i, **orders) for i in range(MEMBERS)]
    cluster.ready(*members)
    for part in range(1, 5):
        cluster.spent_beyond(part * 500 * HOLD)
        if disaster == "rollback" and part == 1:
            redis.save()
        elif disaster == "flush":
            redis.flush()
        else:
            redis.kill()
            redis.start()
    cluster.spent_beyond(cluster.balance - HOLD + 1)
    for member in members:
        member.send_signal(signal.SIGTERM)
    charged = 600 * sum(cluster.end(member).tokens for member in members)
    cluster.assert_books(charged)
    assert cluster.balance - charged < HOLD


def test_redis_that_forgets_grants_no_money_while_a_dead_member_has_not_told(tmp_path, redis):
    cluster = Cluster(tmp_path, redis, 2000 * HOLD)
    doomed = cluster.start("doomed", used_min=20)
    other = cluster.start("other", used_min=20, pause_s=0.05)
    cluster.ready(doomed, other)
    cluster.spent_beyond(100 * HOLD)
    cluster.kill(doomed)
    redis.flush()
    cluster.stalled()
    assert cluster.posted() > HOLD
    again = cluster.start("doomed", used_min=20, pause_s=0.05, seed=1)
    cluster.ready(again)
    cluster.spent_beyond(2000 * HOLD)
    for member in (other, again):
        member.send_signal(signal.SIGTERM)
        cluster.end(member)
    cluster.assert_nothing_was_lost()


def started(cluster: Cluster, members: list[subprocess.Popen]) -> list[subprocess.Popen]:
    cluster.ready(*members)
    return members
