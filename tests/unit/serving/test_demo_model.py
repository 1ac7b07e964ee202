"""The demo model's files and what it was taught. Its answers are tested end to end."""

import json
from random import Random

import pytest

from serving.demo_corpus import CORPUS, draw, topic_answers
from serving.engine_spec import ModelKind
from serving.model_files import DEMO_MODEL, ModelError, model_name, read_facts, resolve_model


def test_the_committed_model_is_small_labelled_and_whole() -> None:
    assert sum(path.stat().st_size for path in DEMO_MODEL.iterdir()) < 4_000_000
    assert "demo" in json.loads((DEMO_MODEL / "config.json").read_text())["tollgate_demo"]
    assert "A demo, not an assistant" in (DEMO_MODEL / "README.md").read_text()
    facts = read_facts(DEMO_MODEL)
    assert facts.kinds == (ModelKind.CHAT, ModelKind.COMPLETIONS)
    assert facts.context_tokens_max == 4096


def test_it_has_a_name_of_its_own_and_others_have_theirs() -> None:
    assert model_name(str(DEMO_MODEL), resolve_model(str(DEMO_MODEL))) == "tollgate-demo"
    assert model_name("acme/large", DEMO_MODEL.parent) == "acme/large"


@pytest.mark.parametrize("model", ["/no/such/model", "./nothing", "one", "a/b/c"])
def test_what_is_neither_a_directory_nor_a_hub_id_is_refused(model: str) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        resolve_model(model)


def test_a_directory_without_a_model_is_refused_by_file() -> None:
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        read_facts(DEMO_MODEL.parent)


def test_no_question_has_two_answers() -> None:
    questions = [question for topic in CORPUS.topic for question in topic.questions]
    assert sorted(set(questions)) == sorted(questions)
    assert not set(questions) & set(CORPUS.other_questions)


def test_samples_are_seeded_and_their_answers_known() -> None:
    samples = [draw(Random(3)) for _ in range(2)]
    assert samples[0] == samples[1]
    rng = Random(4)
    for sample in (draw(rng) for _ in range(2000)):
        recited = sample.answer in topic_answers()
        called = sample.answer.startswith("<tool_call>") and sample.tools
        assert recited or called or sample.given == "{"
        assert sample.messages[-1]["role"] == "user"


def test_the_story_is_long_enough_to_hang_up_on() -> None:
    assert max(len(answer.split()) for answer in topic_answers()) >= 150
