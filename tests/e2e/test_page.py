"""docs/api.md against the real engine, by a user with the keys that `tollgate up` printed."""

from __future__ import annotations

import asyncio

import httpx
from api_page import examples, wrong

NOT_OF_A_CHAT_MODEL = ("/v1/embeddings", "/v1/rerank", "/v1/score")


def test_every_line_does_what_the_page_says(stack, tmp_path):
    origin, admin = stack.base_url.removesuffix("/v1"), stack.state["admin_key"]
    let_manage_keys(origin, admin)
    stack.settle()  # the page shows an epoch
    variables = {"BASE": origin, "KEY": stack.api_key, "ADMIN": admin, "MODEL": stack.model}

    async def all_of_them() -> list[str]:
        asked = [
            await wrong(example, variables, tmp_path)
            for example in examples()
            if not any(f"$BASE{path} " in example.script for path in NOT_OF_A_CHAT_MODEL)
            and "/nodes" not in example.script  # `tollgate up` enrols none
        ]
        assert len(asked) > 60
        return [found for found in asked if found is not None]

    assert asyncio.run(all_of_them()) == []
    stack.eventually(lambda: batches_are_over(stack) and stack.engine_running() == 0, within_s=60)


def let_manage_keys(origin: str, admin: str) -> None:
    headers = {"Authorization": f"Bearer {admin}"}
    keys = httpx.get(f"{origin}/admin/v1/keys?account=demo", headers=headers).json()["data"]
    changed = httpx.patch(
        f"{origin}/admin/v1/keys/{keys[0]['key_id']}", headers=headers, json={"manages_keys": True}
    )
    assert changed.status_code == 200, changed.text


def batches_are_over(stack) -> bool:
    listed = httpx.get(f"{stack.base_url}/batches", headers=stack.headers).json()["data"]
    return all(each["status"] in ("completed", "failed", "cancelled") for each in listed)
