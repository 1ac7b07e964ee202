"""What must be looked up before a request can be judged, and what if it cannot."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from gateway.admission.admission import Admission, Known, Pending, settled
from gateway.admission.ids import Ids
from gateway.admission.keyring import Keyring
from gateway.admission.waking import Waking
from gateway.errors import ApiError
from gateway.exchange.failover import Failover
from gateway.timeouts import Timeouts
from metering.keys import ApiKey
from metering.ledger import LedgerError

pytestmark = pytest.mark.anyio


def judge(known: Known) -> object:
    if "balance" not in known:
        raise Pending("balance", judge.look_up)
    return known["balance"]


async def test_what_was_looked_up_is_judged_with():
    async def look_up() -> int:
        return 7

    judge.look_up = look_up
    assert await settled(judge) == 7


async def test_a_ledger_that_is_away_is_told_as_a_429_and_not_as_silence():
    async def look_up() -> int:
        raise LedgerError("the disk is gone")

    judge.look_up = look_up
    with pytest.raises(ApiError) as caught:
        await settled(judge)
    assert (caught.value.status, caught.value.code) == (429, "limits_unknown")


class Keys:
    """A store whose keys are all replaced at once."""

    def __init__(self, **secrets: dict[str, int]) -> None:
        self.secrets = secrets
        self.changes = 0

    def version(self) -> int:
        return self.changes

    def change(self, **secrets: dict[str, int]) -> None:
        self.secrets = secrets
        self.changes += 1

    def load_all(self) -> list[ApiKey]:
        return [
            ApiKey(
                key_id=f"key_{secret}",
                account="acme",
                name="",
                digest=hashlib.sha256(secret.encode()).digest(),
                created_ns=1,
                **fields,
            )
            for secret, fields in self.secrets.items()
        ]


async def admission_with(store: Keys) -> tuple[Admission, Keyring]:
    keyring = Keyring(store)
    await keyring.reload()
    unused: Any = None
    admission = Admission(
        keyring=keyring,
        catalogue=unused,
        till=unused,
        router=unused,
        ids=Ids(),
        monotonic_ns=time.monotonic_ns,
        timeouts=Timeouts(),
        failover=Failover(),
        body_bytes_max=1,
        open_requests_max=1,
        sample=unused,
        tool_sample=unused,
        waking=Waking(None, time.monotonic_ns),
    )
    return admission, keyring


async def test_who_asks_again_on_a_connection_is_known_without_a_search():
    admission, _ = await admission_with(Keys(one={}, two={}))
    one = admission.caller(b"Bearer one", None, {})
    assert one.key.key_id == "key_one"
    assert admission.caller(b"Bearer one", one, {}) is one
    assert admission.caller(b"Bearer two", one, {}).key.key_id == "key_two"
    with pytest.raises(ApiError):
        admission.caller(b"Bearer none", one, {"keys": None})


async def test_a_key_that_was_revoked_is_not_remembered():
    store = Keys(one={})
    admission, keyring = await admission_with(store)
    before = admission.caller(b"Bearer one", None, {})
    store.change(one={"revoked_ns": 2})
    await keyring.reload()
    with pytest.raises(ApiError) as caught:
        admission.caller(b"Bearer one", before, {})
    assert caught.value.status == 401


async def test_a_key_that_expires_is_looked_at_each_time():
    end_ns = time.time_ns() + 10**12
    admission, _ = await admission_with(Keys(one={"expires_ns": end_ns}))
    before = admission.caller(b"Bearer one", None, {})
    admission._ids.now_ns = lambda: end_ns
    with pytest.raises(ApiError) as caught:
        admission.caller(b"Bearer one", before, {})
    assert caught.value.status == 401
