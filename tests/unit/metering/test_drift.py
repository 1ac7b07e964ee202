"""Nodes that add a little to every answer, and honest ones that look like it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from metering.drift import GROUPS_MAX, WINDOW_ANSWERS, Drift
from metering.tokens import TokenCounter

TESTS = Path(__file__).parents[2]
ANSWERS = [
    json.loads(line)
    for line in (TESTS / "golden/honest-answers/answers.jsonl").read_text().splitlines()
]
COUNTER = TokenCounter.from_tokenizer_json(TESTS.parent / "serving/demo_model/tokenizer.json")
OVERHEADS = {"u": 11, "su": 19, "uau": 25}


def found_after(drift: Drift, pairs) -> int | None:
    for number, (shape, counted, claimed) in enumerate(pairs, start=1):
        if drift.add(shape, counted, claimed) is not None:
            return number
    return None


def prompts(rng: random.Random, percent: int, count: int):
    """Of all lengths, in three shapes; a node that adds so many percent, rounded up."""
    for _ in range(count):
        shape, overhead = rng.choice(list(OVERHEADS.items()))
        counted = int(rng.lognormvariate(4.5, 1)) + 1
        yield shape, counted, -(-(counted + overhead) * (100 + percent) // 100)


@pytest.mark.parametrize("seed", range(20))
def test_ten_percent_is_found_within_two_hundred(seed):
    found = found_after(Drift(), prompts(random.Random(seed), 10, 200))
    assert found is not None


@pytest.mark.parametrize("seed", range(20))
def test_ten_percent_that_begin_after_years_of_honesty_are_found_within_two_hundred(seed):
    drift, rng = Drift(), random.Random(seed)
    before = rng.randrange(100, 3000)
    assert found_after(drift, prompts(rng, 0, before)) is None
    assert found_after(drift, prompts(rng, 10, 200)) is not None


@pytest.mark.parametrize("seed", range(20))
def test_an_honest_node_is_never_suspected_whatever_its_template_adds(seed):
    assert found_after(Drift(), prompts(random.Random(seed), 0, 5000)) is None


def test_the_real_models_answers_make_no_drift_and_inflated_ones_do():
    """Shuffled anew a hundred times: that is two hundred windows of honest answers, noise and all.
    The inflated ones are drawn as the API allows.
    """
    counted = [(COUNTER.count(e["text"]), e["completion_tokens"]) for e in ANSWERS]
    usual = [
        (COUNTER.count(e["text"]), e["completion_tokens"]) for e in ANSWERS if e["temperature"] <= 2
    ]
    suspected = 0
    for seed in range(100):
        rng = random.Random(seed)
        rng.shuffle(counted)
        suspected += found_after(Drift(), (("chat:1", x, y) for x, y in counted)) is not None
        rng.shuffle(usual)
        inflated = (("chat:1", x, -(-y * 110 // 100)) for x, y in usual[:200])
        assert found_after(Drift(), inflated) is not None
    assert suspected == 0


def test_the_real_template_makes_no_drift():
    pairs = [
        (
            "".join(m["role"][0] for m in e["messages"]),
            sum(COUNTER.count(m["content"].strip()) for m in e["messages"]),
            e["prompt_tokens"],
        )
        for e in ANSWERS
    ]
    assert found_after(Drift(), pairs) is None
    assert found_after(Drift(), [(s, x, -(-y * 110 // 100)) for s, x, y in pairs]) is not None


def test_noise_is_not_taken_for_drift():
    """Counts that are a quarter off either way, as ours are where the tokenizer is another."""
    for seed in range(50):
        rng = random.Random(seed)
        pairs = (
            ("u", x, round(x * rng.uniform(0.75, 1.25))) for x in rng.choices(range(900), k=900)
        )
        assert found_after(Drift(), pairs) is None


def test_it_is_told_once_a_window():
    drift, rng = Drift(), random.Random(1)
    told = sum(drift.add(*pair) is not None for pair in prompts(rng, 10, WINDOW_ANSWERS * 3))
    assert told == 3


def test_answers_of_one_length_tell_nothing():
    assert found_after(Drift(), [("u", 12, 14)] * 500) is None


def test_shapes_are_bounded():
    drift = Drift()
    for number in range(10_000):
        drift.add(f"shape {number}", number, number)
    assert len(drift._groups) == GROUPS_MAX
    slope = drift.slope()
    assert slope is None
