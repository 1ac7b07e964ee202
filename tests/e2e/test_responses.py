"""The Responses API over a real engine: kept, carried on after a crash, made in the background."""

from __future__ import annotations

import openai
import pytest

# A grammar holds the engine at this for longer than any test takes.
ENDLESS = {
    "type": "json_schema",
    "name": "numbers",
    "schema": {
        "type": "object",
        "properties": {"of": {"type": "array", "items": {"type": "integer"}, "minItems": 900}},
        "required": ["of"],
        "additionalProperties": False,
    },
}


def test_a_conversation_goes_on_after_the_gateway_was_killed(stack, client):
    asked = {"model": stack.model, "max_output_tokens": 60}
    first = client.responses.create(**asked, input="What is Tollgate?")
    stack.kill_gateway()
    events = list(
        client.responses.create(
            **asked, input="Tell me a story.", previous_response_id=first.id, stream=True
        )
    )
    second = events[-1].response
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    kept = client.responses.retrieve(second.id)
    assert kept.output_text == second.output_text
    (item,) = client.responses.input_items.list(second.id)
    assert item.content[0].text == "Tell me a story."
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**asked, input="And then?", previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found"


def test_a_background_response_is_made_and_its_events_are_told_again(stack, client):
    made = client.responses.create(
        model=stack.model, input="What is Tollgate?", background=True, stream=True
    )
    events = []
    for event in made:
        events.append(event)
        if event.type == "response.output_text.delta":
            break
    made.close()
    response_id = events[0].response.id
    stack.eventually(
        lambda: client.responses.retrieve(response_id).status == "completed", within_s=60
    )
    seen = events[-1].sequence_number
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen))
    assert rest[0].sequence_number == seen + 1
    assert rest[-1].type == "response.completed"
    text = "".join(e.delta for e in (*events, *rest) if e.type == "response.output_text.delta")
    assert text == rest[-1].response.output_text


def test_a_cancelled_background_response_frees_the_engine_and_is_charged_in_part(stack, client):
    charged = stack.charged()
    made = client.responses.create(
        model=stack.model, input="Count.", background=True, text={"format": ENDLESS}
    )
    assert made.status in ("queued", "in_progress")
    stack.eventually(lambda: stack.engine_running() == 1, within_s=30)
    assert client.responses.cancel(made.id).status == "cancelled"
    stack.eventually(lambda: stack.engine_running() == 0, within_s=10)
    (charge,) = stack.usage_after(charged, 1)
    assert charge["outcome"] == "client_gone"
    assert charge["completion_tokens"] < 1800
    assert client.responses.retrieve(made.id).status == "cancelled"
