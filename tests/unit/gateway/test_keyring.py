"""What running gateways know of keys, and when."""

from __future__ import annotations

import asyncio

import pytest

from gateway.admission.keyring import Keyring
from metering.keys import ApiKey

pytestmark = pytest.mark.anyio


class Keys:
    """A store that counts how often it is read."""

    def __init__(self) -> None:
        self.keys: list[ApiKey] = []
        self.reads = self.looks = 0

    def version(self) -> int:
        self.looks += 1
        return len(self.keys)

    def load_all(self) -> list[ApiKey]:
        self.reads += 1
        return list(self.keys)

    def add(self, name: str, **fields) -> bytes:
        key = ApiKey(
            key_id=name, account="a", name="", digest=name.encode(), created_ns=1, **fields
        )
        self.keys.append(key)
        return key.digest


async def test_what_changes_right_after_a_reload_is_in_the_next_one():
    store = Keys()
    keyring = Keyring(store)
    await keyring.reload()
    digest = store.add("late")
    await keyring.reload()
    assert keyring.find(digest) is not None


async def test_callers_that_come_together_share_a_read():
    store = Keys()
    keyring = Keyring(store)
    await keyring.reload()
    await asyncio.gather(*(keyring.reload() for _ in range(50)))
    assert (store.looks, store.reads) == (2, 1)


async def test_keys_are_read_again_only_if_one_changed():
    store = Keys()
    keyring = Keyring(store)
    for _ in range(3):
        await keyring.reload()
    assert store.reads == 1
    store.add("new")
    await keyring.reload()
    assert store.reads == 2


async def test_a_key_is_known_with_the_bounds_of_its_parent():
    store = Keys()
    store.add("parent", models=("m",))
    child = store.add("child", parent_key_id="parent")
    keyring = Keyring(store)
    await keyring.reload()
    found = keyring.find(child)
    assert found is not None
    assert found.models == ("m",)
