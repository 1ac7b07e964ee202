"""A gateway with everything on, for a benchmark: 16 node records, a key that is known, much credit.

    python tests/bench/serve.py PORT [NODE_URL ...] [--home DIR] [--capacity N ...]

Its key is `sk-bench`, its model `mock`, its home a temporary folder that goes with it. When it has
drained it says on stderr what the books hold, so that a run can be checked against them.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from gateway.config import Config, parse
from gateway.home import Home
from gateway.server import GatewayServer
from gateway.wiring import Gateway
from metering.keys import digest
from metering.money import parse_usd
from metering.posting import deposit_group
from metering.sqlite_database import SqliteDatabase
from metering.sqlite_ledger import SqliteLedger

KEY, ACCOUNT, CREDIT_USD = "sk-bench", "bench", "1000000"
LIMITS = (10_000_000, 1_000_000_000_000, 4096)
"""Requests and tokens a minute, requests at once: all three on, none reached."""
NODES = 16
MODEL = """
[server]
port = {port}
open_requests_max = 8192
node_first_byte_timeout_s = {first_byte_timeout_s}

[[model]]
id = "mock"
context_tokens_max = 32768
prompt_usd_per_million = "0.20"
completion_usd_per_million = "0.60"
"""
NODE = """
[[node]]
id = "node-{index}"
supplier = "supplier-{index}"
url = "{url}"
model = "mock"
engine = "vllm"
capacity = {capacity}
"""


def main() -> None:
    options = _options()
    configuration = config(
        options.port,
        options.urls,
        first_byte_timeout_s=options.first_byte_timeout_s,
        capacity=options.capacity,
    )
    with tempfile.TemporaryDirectory(dir=options.home) as folder:
        home = Home(Path(folder))
        open_account(home)
        GatewayServer(Gateway(home, configuration)).run()
        sys.stderr.write(f"books: {json.dumps(_books(home))}\n")


def config(
    port: int, urls: list[str], *, first_byte_timeout_s: int, capacity: int = 4096
) -> Config:
    """One model on 16 nodes, which share these addresses."""
    nodes = "".join(
        NODE.format(index=i, url=urls[i % len(urls)], capacity=capacity) for i in range(NODES)
    )
    model = MODEL.format(port=port, first_byte_timeout_s=first_byte_timeout_s)
    return parse(model + nodes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument(
        "urls", nargs="*", default=["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
    )
    parser.add_argument("--home", help="folder for its files; the disk there is what it commits to")
    parser.add_argument("--first-byte-timeout-s", type=int, default=300)
    parser.add_argument("--capacity", type=int, default=4096, help="of each node")
    return parser.parse_args()


def _books(home: Home) -> dict[str, object]:
    """What `books.Books` holds. `requests` are told apart by their ids."""
    query = "SELECT count(*), count(DISTINCT request_id), sum(prompt_tokens) FROM charge"
    of_outcome = "SELECT outcome, count(*), sum(completion_tokens) FROM charge GROUP BY outcome"
    with closing(sqlite3.connect(home.ledger_file)) as database:
        charges, requests, prompt_tokens = database.execute(query).fetchone()
        outcomes = database.execute(of_outcome).fetchall()
    with closing(SqliteLedger(home.ledger_file)) as ledger:
        held = sum(line.balance.debits_pending for line in ledger.trial_balance())
    return {
        "charges": charges,
        "requests": requests,
        "prompt_tokens": prompt_tokens or 0,
        "completion_tokens": sum(tokens for _, _, tokens in outcomes),
        "by_outcome": {outcome: count for outcome, count, _ in outcomes},
        "held_nano_usd": held,
    }


def open_account(home: Home) -> None:
    deposit = deposit_group("bench", ACCOUNT, parse_usd(CREDIT_USD))
    with closing(SqliteLedger(home.ledger_file)) as ledger:
        ledger.post("bench", [deposit])
    SqliteDatabase(home.ledger_file).close()  # makes the table
    with closing(sqlite3.connect(home.ledger_file)) as database, database:
        database.execute(
            "INSERT INTO api_key (key_id, account, name, digest, created_ns, requests_per_minute, "
            "tokens_per_minute, concurrent_requests) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ("key_bench", ACCOUNT, "bench", digest(KEY), time.time_ns(), *LIMITS),
        )


if __name__ == "__main__":
    main()
