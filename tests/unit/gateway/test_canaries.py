"""Whether one model wrote two greedy answers, and who is right if they differ."""

from __future__ import annotations

import json
from random import Random

import pytest

from gateway.canaries.greedy import (
    Asked,
    Greedy,
    Likeness,
    Step,
    gaps_nats,
    likeness,
    read_greedy,
    verdicts,
)
from gateway.canaries.prompts import question
from gateway.openai.request import Endpoint, read

GAP = 0.15
WORDS = [f"word{number}" for number in range(14)]


def answer(words: list[str], shift: float = 0.0, tie_at: int | None = None) -> Greedy:
    """`tie_at`: there "a" or "b" would have been as likely."""
    steps = []
    for place, word in enumerate(words):
        top = {word: -0.2 - shift, "~": -7.0}
        if place == tie_at:
            top |= {"a": -0.3, "b": -0.4}
        steps.append(Step(token=word, logprob=top[word], top=top))
    return Greedy(text=" ".join(words), steps=tuple(steps))


def at(place: int, word: str) -> list[str]:
    return [*WORDS[:place], word, *WORDS[place + 1 :]]


def test_the_same_is_the_same():
    assert likeness(answer(WORDS), answer(WORDS), GAP) is Likeness.SAME


def test_an_unlikely_token_is_another_model():
    for place in (0, 5, 13):
        other = answer(at(place, "zebra"))
        assert likeness(answer(WORDS), other, GAP) is Likeness.DIFFERENT


def test_where_two_tokens_are_equally_likely_either_may_come():
    one, other = answer(at(9, "a"), tie_at=9), answer(at(9, "b"), tie_at=9)
    assert likeness(one, other, GAP) is Likeness.SAME
    early = answer(at(2, "a"), tie_at=2), answer(at(2, "b"), tie_at=2)
    assert likeness(*early, GAP) is Likeness.UNSURE


def test_a_tie_that_only_one_of_them_claims_is_none():
    """Else whoever serves another model would claim one everywhere."""
    one, other = answer(at(9, "a")), answer(at(9, "b"), tie_at=9)
    assert likeness(one, other, GAP) is Likeness.DIFFERENT


def test_a_model_that_is_less_sure_of_the_same_words_is_another():
    assert likeness(answer(WORDS), answer(WORDS, shift=0.1), GAP) is Likeness.SAME
    assert likeness(answer(WORDS), answer(WORDS, shift=0.2), GAP) is Likeness.DIFFERENT


def test_a_short_answer_says_little():
    assert likeness(answer(WORDS[:3]), answer(WORDS[:3]), GAP) is Likeness.UNSURE


def test_without_logprobs_texts_are_compared():
    plain = [Greedy(text=text, steps=()) for text in ("It is a fruit.", "It is a fruit, I think.")]
    other = Greedy(text="Once upon a time", steps=())
    assert likeness(plain[0], plain[0], GAP) is Likeness.SAME
    assert likeness(plain[0], plain[1], GAP) is Likeness.UNSURE
    assert likeness(plain[0], other, GAP) is Likeness.DIFFERENT
    assert likeness(plain[0], Greedy(text="", steps=()), GAP) is Likeness.UNSURE


@pytest.mark.parametrize("logprob", [float("-inf"), -1e30])
def test_a_logprob_beyond_all_bounds_is_bounded(logprob):
    told = {"token": "a", "logprob": logprob, "top_logprobs": []}
    body = {"choices": [{"message": {"content": "a"}, "logprobs": {"content": [told] * 9}}]}
    found = read_greedy(json.dumps(body).replace("-Infinity", "-1e999").encode(), stream=False)
    assert found is None or likeness(found, found, GAP) is Likeness.SAME


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"choices": [1]}', b"\xff"])
def test_what_cannot_be_read_is_nothing(body):
    assert read_greedy(body, stream=False) is None


def asked(**answers: tuple[str, bool, Greedy]) -> dict[str, Asked]:
    return {
        name: Asked(supplier_id=supplier, trusted=trusted, answer=told)
        for name, (supplier, trusted, told) in answers.items()
    }


RIGHT, WRONG = answer(WORDS), answer(WORDS[::-1])


def test_a_trusted_node_is_right():
    found = verdicts(
        asked(own=("o", True, RIGHT), x=("x", False, WRONG), y=("y", False, WRONG)), GAP
    )
    assert found == {"x": Likeness.DIFFERENT, "y": Likeness.DIFFERENT}


def test_most_suppliers_are_right():
    found = verdicts(
        asked(a=("a", False, RIGHT), b=("b", False, RIGHT), c=("c", False, WRONG)), GAP
    )
    assert found == {"a": Likeness.SAME, "b": Likeness.SAME, "c": Likeness.DIFFERENT}


def test_many_nodes_of_one_supplier_are_one_voice():
    swarm = {f"c{number}": ("c", False, WRONG) for number in range(5)}
    found = verdicts(asked(a=("a", False, RIGHT), b=("b", False, RIGHT), **swarm), GAP)
    assert found["a"] is Likeness.SAME
    assert found["c3"] is Likeness.DIFFERENT


def test_of_two_that_differ_nobody_knows():
    assert verdicts(asked(a=("a", False, RIGHT), b=("b", False, WRONG)), GAP) == {}
    one_supplier = asked(a=("s", False, RIGHT), b=("s", False, RIGHT))
    assert verdicts(one_supplier, GAP) == {}
    assert verdicts({}, GAP) == {}


def test_how_far_each_is_from_the_right_one_is_told_of_those_that_told_enough():
    near, far = answer(WORDS, shift=0.01), answer(at(9, "a"), shift=0.3)
    of_few, parted = answer(WORDS[:7]), answer(at(7, "zebra"))
    told = asked(
        own=("o", True, RIGHT), x=("x", False, near), y=("y", False, far), z=("z", False, of_few)
    )
    assert gaps_nats(told, GAP) == pytest.approx({"x": 0.01, "y": 0.3})
    assert gaps_nats(asked(own=("o", True, RIGHT), x=("x", False, parted)), GAP) == {}
    assert gaps_nats(asked(a=("a", False, RIGHT), b=("b", False, WRONG)), GAP) == {}


def test_questions_are_no_list_and_are_what_the_gateway_takes_of_clients():
    rng = Random(1)
    questions = [question(rng, "m") for _ in range(500)]
    texts = {json.dumps(each["messages"]) for each in questions}
    assert len(texts) > 480
    for each in questions:
        read(Endpoint.CHAT, json.dumps(each).encode())
        assert each["temperature"] == 0
    assert 150 < sum("stream" in each for each in questions) < 350


def test_the_same_seed_asks_the_same():
    assert question(Random(7), "m") == question(Random(7), "m")
