"""Who gets into the admin API."""

from __future__ import annotations

import contextlib

import pytest
from customer_api import ADMIN_KEY
from served import configuration, serve

from gateway.config import ConfigError, parse
from gateway.home import Home
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@contextlib.asynccontextmanager
async def gateway(home):
    async with FakeNode() as node, serve(home, configuration([node])) as served:
        yield served


async def test_the_admin_key_lets_in(home):
    async with gateway(home) as served:
        answer = await served.client.get("/admin/v1", headers=bearer(ADMIN_KEY))
        assert answer.status_code == 200, answer.text
        assert answer.json()["object"] == "admin"


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic x", f"Bearer {ADMIN_KEY}x", f"Basic {ADMIN_KEY}"]
)
async def test_any_other_key_is_answered_401(home, authorization):
    async with gateway(home) as served:
        answer = await served.client.get("/admin/v1", headers={"authorization": authorization})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_admin_key"
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_customers_key_is_answered_403(home):
    async with gateway(home) as served:
        answer = await served.client.get("/admin/v1")
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "admin_key_required"


async def test_the_admin_key_is_no_customers(home):
    async with gateway(home) as served:
        answer = await served.client.get("/v1/models", headers=bearer(ADMIN_KEY))
        assert answer.status_code == 401


async def test_without_an_admin_key_nobody_is_let_in(tmp_path):
    async with gateway(tmp_path) as served:
        for secret in (ADMIN_KEY, served.secret):
            answer = await served.client.get("/admin/v1", headers=bearer(secret))
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "admin_api_off"


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ('key_file = "a"\nkey_env = "B"', "not both"),
        ('key_env = "TOLLGATE_TEST_NOT_SET"', "0 characters"),
        ('key_file = "none"', "No such file"),
    ],
)
async def test_a_place_without_an_admin_key_is_refused(tmp_path, section, reason):
    model = (
        '[[model]]\nid = "m"\ncontext_tokens_max = 9\nprompt_usd_per_million = "1"\n'
        'completion_usd_per_million = "1"\n'
    )
    config = parse(f"{model}[admin]\n{section}\n")
    with pytest.raises(ConfigError, match=reason):
        config.admin.key(Home(tmp_path))


async def test_a_weak_admin_key_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TOLLGATE_TEST_ADMIN", "admin")
    config = parse(
        '[[model]]\nid = "m"\ncontext_tokens_max = 9\nprompt_usd_per_million = "1"\n'
        'completion_usd_per_million = "1"\n[admin]\nkey_env = "TOLLGATE_TEST_ADMIN"\n'
    )
    with pytest.raises(ConfigError, match="openssl rand"):
        config.admin.key(Home(tmp_path))
