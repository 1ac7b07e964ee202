"""A gateway with everything on, for a benchmark: 16 node records, a key that is known, much credit.

    python tests/bench/serve.py PORT [NODE_URL ...]

Its key is `sk-bench`, its model `mock`, its home a temporary folder that goes with it. When it has
drained it says on stderr what the books hold, so that a run can be checked against them.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from gateway.config import parse
from gateway.home import Home
from gateway.server import GatewayServer
from gateway.wiring import Gateway
from metering.keys import digest
from metering.money import parse_usd
from metering.posting import deposit_group
from metering.sqlite_keys import SqliteKeys
from metering.sqlite_ledger import SqliteLedger

KEY, ACCOUNT, CREDIT_USD = "sk-bench", "bench", "1000000"
NODES = 16
MODEL = """
[server]
port = {port}

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
capacity = 4096
"""


def main() -> None:
    port, *urls = sys.argv[1:]
    urls = urls or ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
    nodes = "".join(NODE.format(index=i, url=urls[i % len(urls)]) for i in range(NODES))
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        _open_account(home)
        GatewayServer(Gateway(home, parse(MODEL.format(port=port) + nodes))).run()
        with closing(SqliteLedger(home.ledger_file)) as ledger:
            charges = ledger.charge_totals(0, ledger.last_seq())
            count = sum(total.charges for total in charges)
            tokens = sum(total.completion_tokens for total in charges)
            sys.stderr.write(f"books: {count} charges, {tokens} completion tokens\n")


def _open_account(home: Home) -> None:
    deposit = deposit_group("bench", ACCOUNT, parse_usd(CREDIT_USD))
    with closing(SqliteLedger(home.ledger_file)) as ledger:
        ledger.post("bench", [deposit])
    SqliteKeys(home.ledger_file).close()  # makes the table
    with closing(sqlite3.connect(home.ledger_file)) as database, database:
        database.execute(
            "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, NULL)",
            ("key_bench", ACCOUNT, "bench", digest(KEY), time.time_ns()),
        )


if __name__ == "__main__":
    main()
