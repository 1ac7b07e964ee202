"""The body's `provider`: judged, told to the router, and what it comes to in money."""

import json

import pytest

from gateway.errors import ApiError
from gateway.openai.node_body import for_node
from gateway.openai.request import Endpoint, Question, read
from gateway.routing.preferences import price_at_node, wanting
from metering.prices import Reduction, named_price, price_named, reduced
from router.types import RequestFeatures
from router.wants import PPM, Sort, Wants

PRICE = named_price(200, 100, 600)
FEATURES = RequestFeatures(model="m", prompt_tokens=1, completion_tokens_max=1, stream=True)


def asked(provider: object) -> Question:
    message = {"role": "user", "content": "x"}
    body = {"model": "m", "messages": [message], "provider": provider}
    return read(Endpoint.CHAT, json.dumps(body).encode())


def wants_of(provider: object, price=PRICE) -> Wants:
    given = asked(provider).request.provider
    assert given is not None
    wants = wanting(FEATURES, given, price).wants
    assert wants is not None
    return wants


def test_every_preference_is_told_to_the_router() -> None:
    assert wants_of({}) == Wants()
    assert wants_of({"region": "eu"}).regions == {"eu"}
    told = wants_of(
        {
            "sort": "price",
            "only": ["alice", "bob"],
            "ignore": ["carol"],
            "region": ["eu", "us"],
            "min_tier": 2,
            "allow_fallbacks": False,
        }
    )
    assert told == Wants(
        regions=frozenset({"eu", "us"}),
        tier_min=2,
        only=frozenset({"alice", "bob"}),
        ignored=frozenset({"carol"}),
        sort=Sort.PRICE,
        fallbacks=False,
    )


@pytest.mark.parametrize(
    ("max_price", "ppm"),
    [
        ({"prompt": 0.2, "completion": 0.6}, PPM),
        ({"prompt": "0.1"}, 504_999),
        ({"prompt": 0.1, "completion": "0.15"}, 251_666),
        ({"completion": 0.0005}, 0),
        ({"prompt": 0}, 0),
        ({"request": 0}, PPM),
        ({}, PPM),
    ],
)
def test_a_highest_price_is_a_share_of_the_models(max_price: dict, ppm: int) -> None:
    assert wants_of({"max_price": max_price}).price_ppm_max == ppm


@pytest.mark.parametrize("amounts", [(200, 100, 600), (1, 1, 1), (7, 3, 11), (0, 0, 5)])
@pytest.mark.parametrize("ppm", [1, 333_333, 500_000, 999_999])
def test_nobody_pays_more_than_the_highest_price_named(amounts, ppm: int) -> None:
    price = named_price(*amounts)
    left = price_at_node(price, ppm)
    for whole, part in zip(price.amounts, left.amounts, strict=True):
        assert part <= whole
        assert (part > 0) == (whole > 0)
    assert price_named(left.version).price == left
    usd = f"{left.completion_nano_usd / 1000:.6f}"
    most_ppm = wants_of({"max_price": {"completion": usd}}, price).price_ppm_max
    assert most_ppm >= ppm
    assert price_at_node(price, most_ppm).completion_nano_usd == left.completion_nano_usd


def test_a_price_at_a_node_keeps_what_it_was_reduced_for() -> None:
    assert price_at_node(PRICE, 500_000).version == "100/50/300~node:500000"
    batch = reduced(PRICE, Reduction.BATCH, 500_000)
    assert price_at_node(batch, 500_000).version == "50/25/150~batch:750000"


@pytest.mark.parametrize(
    ("provider", "param", "code", "word"),
    [
        ("x", "provider", "invalid_type", "object"),
        ({"sort": "fast"}, "provider.sort", "invalid_value", "'fast'"),
        ({"order": ["a"]}, "provider.order", "unknown_parameter", "Use 'only'"),
        ({"zone": "a"}, "provider.zone", "unknown_parameter", "provider.zone"),
        ({"only": []}, "provider.only", "invalid_value", ">= 1"),
        ({"only": ["a"], "ignore": ["a"]}, "provider.ignore", None, "['a'] are in 'only' too"),
        ({"region": 7}, "provider.region", "invalid_type", "int"),
        ({"min_tier": 101}, "provider.min_tier", "integer_out_of_range", "<= 100"),
        ({"allow_fallbacks": 1}, "provider.allow_fallbacks", "invalid_type", "bool"),
        ({"max_price": 1}, "provider.max_price", "invalid_type", "object"),
        *(
            ({"max_price": {"prompt": usd}}, "provider.max_price.prompt", code, word)
            for usd, code, word in (
                (-1, "decimal_out_of_range", "0 to 1000000 USD"),
                ("NaN", "decimal_out_of_range", "0 to 1000000 USD"),
                ("1e99999999", "decimal_out_of_range", "0 to 1000000 USD"),
                ("cheap", "invalid_type", "decimal"),
            )
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(provider, param: str, code: str, word: str) -> None:
    with pytest.raises(ApiError) as refused:
        asked(provider)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert refused.value.code == code
    assert word in refused.value.message


def test_the_node_does_not_see_it() -> None:
    question = asked({"sort": "latency"})
    question.account = "acme"
    body = json.dumps({"model": "m", "messages": [], "provider": {"sort": "latency"}}).encode()
    for is_vllm in (True, False):
        sent = for_node(question, body, served_model="m", is_vllm=is_vllm)
        assert "provider" not in json.loads(sent)
