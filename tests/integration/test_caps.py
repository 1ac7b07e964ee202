"""What a customer's key may do and spend, and free tokens: at the door of a whole gateway."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from served import Served, configuration, eventually, serve

from metering.backend import open_database
from metering.cycle import Cycle, cycle_end_ns
from metering.key_patch import KeyPatch
from metering.key_store import KeyStore
from metering.keys import ApiKey, KeyTerms
from metering.limits import Limits
from metering.purse import FREE
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_day")]
CHAT = "/v1/chat/completions"
TOKENS = 12
DAY_NS = 86_400_000_000_000


def chat(**fields) -> dict:
    hi = [{"role": "user", "content": "hi there"}]
    return {"model": "fake", "messages": hi, "max_tokens": TOKENS, **fields}


def new_key(served: Served, parent: str | None = None, **terms) -> tuple[ApiKey, dict[str, str]]:
    """A key of these terms, and the headers of who has it."""
    with contextlib.closing(open_database(served.home / "ledger.db")) as database:
        store = KeyStore(database)
        if parent is None:
            key, secret = store.create("acme", "", KeyTerms(manages_keys=True, **terms))
        else:
            key, secret = store.create_sub_key(parent, "", KeyTerms(**terms))
    return key, {"authorization": f"Bearer {secret}"}


async def ask(served: Served, headers=None, **fields) -> tuple[int, dict, dict]:
    answer = await served.client.post(CHAT, json=chat(**fields), headers=headers)
    return answer.status_code, answer.json(), dict(answer.headers)


async def statuses(served: Served, headers, count: int) -> list[int]:
    answers = await asyncio.gather(*(ask(served, headers) for _ in range(count)))
    return sorted(status for status, _, _ in answers)


async def cost_and_hold(served: Served) -> tuple[int, int]:
    """Of one such request, in nano-USD."""
    _, headers = new_key(served, spend_cap_nano_usd=1)
    status, body, _ = await ask(served, headers)
    assert status == 402
    hold = round(float(body["error"]["message"].partition("up to ")[2].split()[0]) * 1e9)
    assert (await ask(served))[0] == 200
    (charge,) = await served.charges(1)
    return charge.charged_nano_usd, hold


def at(served: Served, now_ns: int) -> None:
    """From now on that is the wall clock's time, as admission sees it."""
    begun = time.time_ns()
    served.server._gateway.admission._ids.now_ns = lambda: now_ns + time.time_ns() - begun


async def test_a_key_may_use_the_models_on_its_list(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        _, headers = new_key(served, models=("other", "more"))
        status, body, _ = await ask(served, headers)
        assert (status, body["error"]["code"]) == (403, "model_not_found")
        assert "'fake', only to: other, more" in body["error"]["message"]
        seen = await served.client.get("/v1/models", headers=headers)
        assert seen.json()["data"] == []
        for path in ("/v1/models/fake", "/v1/models/fake/prices"):
            unseen = await served.client.get(path, headers=headers)
            assert (unseen.status_code, unseen.json()["error"]["code"]) == (404, "model_not_found")
        _, headers = new_key(served, models=("fake",))
        assert (await ask(served, headers))[0] == 200
        seen = await served.client.get("/v1/models", headers=headers)
        assert [each["id"] for each in seen.json()["data"]] == ["fake"]


async def test_a_key_that_expired_is_refused_and_told_when(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        expires_ns = time.time_ns() + DAY_NS
        key, headers = new_key(served, expires_ns=expires_ns)
        assert (await ask(served, headers))[0] == 200
        at(served, expires_ns)
        status, body, _ = await ask(served, headers)
        assert (status, body["error"]["code"]) == (401, "api_key_expired")
        assert key.key_id in body["error"]["message"]


async def test_a_cap_is_never_passed_and_tells_what_is_left_and_when_it_begins_anew(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        cost, hold = await cost_and_hold(served)
        cap = 3 * cost + hold
        key, headers = new_key(served, spend_cap_nano_usd=cap, spend_cycle=Cycle.MONTHLY)
        for _ in range(4):
            assert (await ask(served, headers))[0] == 200
        while (await ask(served, headers))[0] == 200:
            pass
        status, body, head = await ask(served, headers)
        error = body["error"]
        assert (status, error["type"], error["code"]) == (429, *["insufficient_quota"] * 2)
        assert f"of key {key.key_id}" in error["message"]
        assert error["message"].endswith("-01T00:00:00Z.")
        resets_s = (cycle_end_ns(Cycle.MONTHLY, time.time_ns()) - time.time_ns()) / 1e9
        assert abs(int(head["retry-after"]) - resets_s) < 60
        assert head["x-should-retry"] == "false"
        spent = sum(c.charged_nano_usd for c in await served.charges(5) if c.key_id == key.key_id)
        assert cap - hold < spent <= cap
        at(served, cycle_end_ns(Cycle.MONTHLY, time.time_ns()))
        assert (await ask(served, headers))[0] == 200


async def test_many_at_once_do_not_pass_a_cap_for_life_and_a_restart_remembers_it(tmp_path):
    async with FakeNode() as node:
        config = configuration([node])
        async with serve(tmp_path, config) as served:
            cost, hold = await cost_and_hold(served)
            await node.inject(Fault(head_delay_ms=1000, requests=10))
            cap = 10 * hold
            key, headers = new_key(served, spend_cap_nano_usd=cap)
            assert await statuses(served, headers, 40) == [200] * 10 + [402] * 30
            while 200 in await statuses(served, headers, 40):
                pass
        async with serve(tmp_path, config) as served:
            status, body, _ = await ask(served, headers)
            assert status == 402
            assert "for the key's life" in body["error"]["message"]
            charges = [c for c in await served.charges(1) if c.key_id == key.key_id]
            spent = sum(charge.charged_nano_usd for charge in charges)
            assert spent == len(charges) * cost
            assert cap - hold < spent <= cap


async def test_sub_keys_spend_of_their_parents_cap(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        cost, hold = await cost_and_hold(served)
        parent, of_parent = new_key(served, spend_cap_nano_usd=2 * cost + hold)
        subs = [new_key(served, parent.key_id)[1] for _ in range(2)]
        own_cap = new_key(served, parent.key_id, spend_cap_nano_usd=hold)[1]
        assert (await ask(served, own_cap))[0] == 200
        assert (await ask(served, own_cap))[0] == 402
        for headers in subs:
            assert (await ask(served, headers))[0] == 200
        while (await ask(served, subs[0]))[0] == 200:
            pass
        for headers in (*subs, of_parent):
            status, body, _ = await ask(served, headers)
            assert status == 402
            assert f"cap of key {parent.key_id} has" in body["error"]["message"]


async def test_a_refused_request_leaves_limits_cap_and_credit_as_they_were(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        _, hold = await cost_and_hold(served)
        limits = Limits(requests_per_minute=2, tokens_per_minute=100_000, concurrent_requests=2)
        key, headers = new_key(served, spend_cap_nano_usd=hold, limits=limits)
        till = served.server._gateway.admission._till
        before = till._budget.available("acme")
        await node.inject(Fault(status=400, requests=1))
        assert (await ask(served, headers))[0] == 400
        for _ in range(5):
            assert (await ask(served, headers, max_tokens=1000))[0] == 402
        assert till._budget.available(f"cap:{key.key_id}:life:0") == hold
        assert till._budget.available("acme") == before
        pools = till._limiter.keys[key.key_id]
        assert (pools._own_requests.free, pools._own_tokens.free) == (2, 100_000)
        assert (await ask(served, headers))[0] == 200


async def test_an_operator_may_raise_and_lower_a_cap(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        _, hold = await cost_and_hold(served)
        key, headers = new_key(served, spend_cap_nano_usd=hold)
        while (await ask(served, headers))[0] == 200:
            pass
        for cap, wanted in ((3 * hold, 200), (hold, 402)):
            with contextlib.closing(open_database(served.home / "ledger.db")) as database:
                KeyStore(database).update(key.key_id, KeyPatch(spend_cap_nano_usd=cap))
            await eventually(
                lambda: ask(served, headers), lambda answer, wanted=wanted: answer[0] == wanted
            )


def with_free_tokens(node, tokens: int):
    config = configuration([node])
    import msgspec

    model = msgspec.structs.replace(config.model[0], free_tokens_per_day=tokens)
    return msgspec.structs.replace(config, model=(model,))


async def test_free_tokens_are_used_first_and_the_rest_is_paid(tmp_path):
    async with FakeNode() as node:
        config = with_free_tokens(node, 2000)
        async with serve(tmp_path, config) as served:
            for _ in range(3):
                assert (await ask(served, max_tokens=400, ignore_eos=True))[0] == 200
            assert {charge.price_version for charge in await served.charges(3)} == {FREE.version}
            while (await served.charges(1))[-1].price_version == FREE.version:
                before = len(await served.charges(1))
                assert (await ask(served))[0] == 200
                await served.charges(before + 1)
        async with serve(tmp_path, config) as served:
            assert (await ask(served))[0] == 200
            charges = await served.charges(before + 2)
            free = [charge for charge in charges if charge.price_version == FREE.version]
            used = sum(charge.prompt_tokens + charge.completion_tokens for charge in free)
            assert 0 < used <= 2000
            assert {charge.charged_nano_usd for charge in free} == {0}
            assert all(c.charged_nano_usd > 0 for c in charges if c not in free)
            assert [charge.price_version == FREE.version for charge in charges] == (
                [True] * len(free) + [False] * 2
            )
            at(served, time.time_ns() + DAY_NS)
            assert (await ask(served))[0] == 200
            assert (await served.charges(len(charges) + 1))[-1].price_version == FREE.version


async def test_free_tokens_need_no_credit(tmp_path):
    async with (
        FakeNode() as node,
        serve(tmp_path, with_free_tokens(node, 2000), credit_usd="0.000000001") as served,
    ):
        assert (await ask(served))[0] == 200
        assert (await ask(served, max_tokens=1990))[0] == 402
        (charge,) = await served.charges(1)
        assert (charge.price_version, charge.charged_nano_usd) == (FREE.version, 0)
