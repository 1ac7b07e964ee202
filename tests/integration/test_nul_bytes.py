"""An id or a name with a NUL: PostgreSQL keeps no such text, and nobody is told to try again."""

from __future__ import annotations

import pytest
from customer_api import ADMIN_KEY
from served import open_account_at
from together import LEDGER, REDIS, together, write_config

from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio

NUL = "a\0b"
CUSTOMER = [
    ("GET", "/v1/responses/%00"),
    ("DELETE", "/v1/responses/%00"),
    ("POST", "/v1/responses/%00/cancel"),
    ("GET", "/v1/responses/%00/input_items"),
    ("GET", "/v1/files/%00"),
    ("DELETE", "/v1/files/%00"),
    ("GET", "/v1/files/%00/content"),
    ("GET", "/v1/files?purpose=%00"),
    ("GET", "/v1/files?after=%00"),
    ("GET", "/v1/batches/%00"),
    ("GET", "/v1/batches?after=%00"),
    ("POST", "/v1/batches/%00/cancel"),
    ("GET", "/v1/models/%00"),
    ("GET", "/v1/models/%00/prices"),
    ("GET", "/v1/statements/%00"),
    ("GET", "/v1/epochs/%00"),
]
ADMIN = [
    ("GET", "accounts/%00"),
    ("GET", "accounts/%00/usage"),
    ("GET", "accounts/%00/deposits"),
    ("GET", "accounts/%00/statements/2024-01"),
    ("GET", "deposits/%00"),
    ("GET", "keys/%00"),
    ("GET", "keys?account=%00"),
    ("DELETE", "keys/%00"),
    ("GET", "prices/%00"),
    ("GET", "decisions/%00"),
    ("GET", "nodes/%00/reputation"),
    ("GET", "audit?subject=%00"),
    ("POST", "drains/nodes/%00"),
    ("DELETE", "drains/nodes/%00"),
    ("POST", "drains/models/%00"),
    ("DELETE", "drains/models/%00"),
]
TOLD = [
    ("POST", "/v1/responses", {"model": "fake", "input": "hi", "previous_response_id": NUL}),
    ("POST", "/v1/batches", {"input_file_id": NUL, "endpoint": "/v1/completions"}),
]
ADMIN_TOLD = [
    ("POST", "keys", {"account": "acme", "name": NUL}),
    ("POST", "keys", {"account": NUL, "name": "n"}),
    ("POST", "accounts", {"account": NUL}),
    ("POST", "deposits/%00/refunds", {"refund_id": "r", "amount_usd": "1"}),
    ("PATCH", "keys/%00", {"name": "n"}),
    ("PATCH", "accounts/%00", {"state": "active"}),
    ("POST", "keys/%00/rotate", {}),
]


async def test_a_nul_is_nobodys_id_and_no_reason_to_try_again(tmp_path, redis, postgres):
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    secret = open_account_at(postgres.url, "1")
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    asked = [(method, path, None, None) for method, path in CUSTOMER]
    asked += [(method, path, body, None) for method, path, body in TOLD]
    asked += [(method, f"/admin/v1/{path}", None, admin) for method, path in ADMIN]
    asked += [(method, f"/admin/v1/{path}", body, admin) for method, path, body in ADMIN_TOLD]
    async with FakeNode() as node:
        write_config(tmp_path, [node], more=LEDGER + REDIS)
        async with together(tmp_path, "--workers", "1", secret=secret) as running:
            for method, path, body, headers in asked:
                answer = await running.client.request(method, path, json=body, headers=headers)
                assert answer.status_code in (400, 404), (method, path, body, answer.text)
                assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}
            answer = await running.client.get("/v1/key")
            assert answer.status_code == 200, answer.text
