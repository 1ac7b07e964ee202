"""The forms in which servers tell tokens, wherever they tell them: all come to the same counts."""

from __future__ import annotations

import json

import pytest

from metering.stream_meter import StreamMeter, usage_of_answer
from metering.usage import Usage


def usage(prompt: int, cached: int = 0, completion: int = 0, reasoning: int = 0) -> Usage:
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        reasoning_tokens=reasoning,
    )


FORMS = [
    # OpenAI
    ('{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":'
     '{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,'
     '"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}',
     usage(9, 4, 5, 3)),
    # vLLM, with and without what switches its details on
    ('{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5}', usage(9, 0, 5)),
    ('{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5,"prompt_tokens_details":null,'
     '"completion_tokens_details":null}', usage(9, 0, 5)),
    ('{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5,"prompt_tokens_details":'
     '{"cached_tokens":4,"created_cache_tokens":2,"multimodal_tokens":{"image":3}},'
     '"completion_tokens_details":{"reasoning_tokens":0}}', usage(9, 4, 5)),
    ('{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5,'
     '"completion_tokens_details":{"reasoning_tokens":5}}', usage(9, 0, 5, 5)),
    ('{"prompt_tokens":9,"total_tokens":9,"completion_tokens":null}', usage(9)),  # embeddings
    ('{"prompt_tokens":9,"total_tokens":9}', usage(9)),
    # SGLang
    ('{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5,"prompt_tokens_details":'
     '{"cached_tokens":4},"reasoning_tokens":3}', usage(9, 4, 5, 3)),
    ('{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5,"prompt_tokens_details":null,'
     '"reasoning_tokens":null}', usage(9, 0, 5)),
    # details without figures, or with none
    ('{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{},'
     '"completion_tokens_details":{}}', usage(9, 0, 5)),
    ('{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":null},'
     '"completion_tokens_details":{"reasoning_tokens":null},"reasoning_tokens":2}',
     usage(9, 0, 5, 2)),
    ('{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":0},'
     '"completion_tokens_details":{"reasoning_tokens":0},"reasoning_tokens":2}', usage(9, 0, 5)),
    # a part larger than its whole is the whole
    ('{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":10},'
     '"completion_tokens_details":{"reasoning_tokens":6}}', usage(9, 9, 5, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("form", "counts"), FORMS)
def test_in_a_whole_answer(form, counts):
    assert usage_of_answer(b'{"choices":[],"usage":%b}' % form.encode()) == counts


@pytest.mark.parametrize(("form", "counts"), FORMS)
def test_in_the_closing_event(form, counts):
    meter = StreamMeter(keep_closing=False)
    assert meter.feed(b'data: {"choices":[],"usage":%b}\n\n' % form.encode()) == b""
    assert (meter.closing, meter.running) == (counts, None)


@pytest.mark.parametrize("tally_text", [False, True])
@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("behind", ["", ',"x":{"y":1}'])
@pytest.mark.parametrize(("form", "counts"), FORMS)
def test_beside_a_choice(form, counts, behind, spaced, tally_text):
    """Also where the last of them tells the total: its cached tokens are not to be lost."""
    event = f'{{"choices":[{{"index":0,"delta":{{"content":"a}}"}}}}],"usage":{form}{behind}}}'
    if spaced:
        event = json.dumps(json.loads(event))
    meter = StreamMeter(keep_closing=False, tally_text=tally_text)
    passed = meter.feed(f"data: {event}\n\n".encode())
    assert (meter.running, meter.closing) == (counts, None)
    seen = json.loads(event)
    del seen["usage"]
    assert json.loads(passed.removeprefix(b"data: ")) == seen


def test_vllms_running_usage_of_a_reasoning_model_is_cut_out_of_the_bytes():
    """Every event of such a model has it: none is to be decoded and written anew."""
    figures = b',"usage":{"completion_tokens_details":{"reasoning_tokens":3}}'
    event = b'data: { "choices":[{"index":0,"delta":{"reasoning":"a"}}]%b,"x":[]}\n\n'
    assert StreamMeter(keep_closing=False).feed(event % figures) == event % b""


def test_reasoning_and_cached_tokens_add_up_over_choices_and_prompts():
    form = (
        '{{"choices":[{{"index":{index},"text":"a"}}],"usage":{{"prompt_tokens":9,'
        '"completion_tokens":5,"prompt_tokens_details":{{"cached_tokens":4}},'
        '"completion_tokens_details":{{"reasoning_tokens":3}}}}}}'
    )
    meter = StreamMeter(keep_closing=False, choices=4, choices_per_prompt=2)
    for index in range(4):
        meter.feed(f"data: {form.format(index=index)}\n\n".encode())
    assert meter.running == usage(18, 8, 20, 12)


@pytest.mark.parametrize(("keep_closing", "told"), [(True, True), (False, False)])
def test_a_total_beside_the_last_choice_reaches_a_client_that_asked_for_usage(keep_closing, told):
    meter = StreamMeter(keep_closing=keep_closing, tally_text=True)
    event = (
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n'
    )
    assert (b"usage" in meter.feed(event)) is told
    assert meter.running == usage(9, 0, 5)
