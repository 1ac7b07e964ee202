"""What is taken for one session, and what is not."""

from __future__ import annotations

import json

from gateway.admission.stickiness import sticky_key
from gateway.openai.request import Endpoint, read

SYSTEM = {"role": "system", "content": "You are terse."}
FIRST = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
LATER = [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And?"}]


def key(
    messages: list, session_id: str = "", account: str = "acme", model: str = "m", **fields: object
) -> int | None:
    body = json.dumps({"model": model, "messages": messages, **fields}).encode()
    return sticky_key(account, read(Endpoint.CHAT, body), session_id)


def test_a_conversation_is_known_by_its_first_messages():
    first = key([SYSTEM, FIRST])
    assert key([SYSTEM, FIRST, *LATER]) == first
    assert key([FIRST, *LATER]) == key([FIRST]) != first
    assert key([SYSTEM, LATER[1]]) != first
    assert key([SYSTEM]) is not None


def test_a_name_that_the_client_gives_outranks_them():
    named = key([FIRST], session_id="s1")
    assert key([SYSTEM, *LATER], session_id="s1") == named
    assert key([FIRST], session_id="header", prompt_cache_key="c") == key(
        [SYSTEM], session_id="header"
    )
    assert key([FIRST], prompt_cache_key="c") == key([SYSTEM], prompt_cache_key="c")


def test_the_bodys_session_id_outranks_the_headers():
    assert sticky_key_of_body("a", "b") == sticky_key_of_body("a", "c") != key([FIRST], "b")


def sticky_key_of_body(of_body: str, of_header: str) -> int | None:
    body = {"model": "m", "messages": [FIRST], "session_id": of_body}
    return sticky_key("acme", read(Endpoint.CHAT, json.dumps(body).encode()), of_header)


def test_accounts_and_models_share_no_session():
    mine = key([FIRST], session_id="s1")
    assert key([FIRST], session_id="s1", account="globex") != mine
    assert key([FIRST], session_id="s1", model="other") != mine


def test_embeddings_and_completions_without_a_name_have_none():
    embedding = read(Endpoint.EMBEDDINGS, b'{"model":"m","input":"x"}')
    assert sticky_key("acme", embedding, "s1") is None
    completion = read(Endpoint.COMPLETIONS, b'{"model":"m","prompt":"x"}')
    assert sticky_key("acme", completion, "") is None
    assert sticky_key("acme", completion, "s1") is not None
