"""openai-python drives every endpoint that it knows here, and parses every answer."""

from __future__ import annotations

import json

import openai
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from sdk.target import Target

from serving.fake_faults import Fault

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "Hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def client(gateway: Target, **more) -> openai.AsyncOpenAI:
    more = {"max_retries": 0, "api_key": gateway.key, "_strict_response_validation": True} | more
    return openai.AsyncOpenAI(base_url=gateway.base_url, **more)


def strictly(model: type[BaseModel], answer: BaseModel) -> None:
    """The answer is valid against the type, which the client by itself does not check."""
    assert isinstance(answer, model)
    model.model_validate(answer.model_dump(warnings="error"), strict=False)


async def test_chat(gateway: Target) -> None:
    async with client(gateway) as ai:
        told = await ai.chat.completions.create(
            model=gateway.model, messages=HELLO, max_tokens=8, seed=1, n=2, temperature=0.5
        )
    strictly(ChatCompletion, told)
    assert [choice.index for choice in told.choices] == [0, 1]
    assert all(choice.message.content for choice in told.choices)
    assert 2 <= told.usage.completion_tokens <= 16
    assert told._request_id


async def test_a_chat_stream(gateway: Target) -> None:
    chunks = []
    async with client(gateway) as ai:
        stream = await ai.chat.completions.create(
            model=gateway.model,
            messages=HELLO,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            strictly(ChatCompletionChunk, chunk)
            chunks.append(chunk)
    assert chunks[-1].choices == []
    assert 1 <= chunks[-1].usage.completion_tokens <= 8
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1])
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")


async def test_completions(gateway: Target) -> None:
    asked = {"model": gateway.model, "prompt": "Once upon", "max_tokens": 6}
    async with client(gateway) as ai:
        told = await ai.completions.create(**asked)
    strictly(Completion, told)
    assert told.choices[0].text


async def test_a_stream_of_completions(gateway: Target) -> None:
    asked = {"model": gateway.model, "prompt": "Once upon", "max_tokens": 6}
    # The type knows no piece without a finish reason, though OpenAI sends them: not strictly.
    async with client(gateway, _strict_response_validation=False) as ai:
        pieces = [piece async for piece in await ai.completions.create(**asked, stream=True)]
    assert all(isinstance(piece, Completion) for piece in pieces)
    assert "".join(piece.choices[0].text for piece in pieces)
    assert pieces[-1].choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("form", ["float", "base64", None])
async def test_embeddings(gateway: Target, form: str | None) -> None:
    more = {} if form is None else {"encoding_format": form}
    # The client asks for base64 by itself and decodes it behind its own validation: not strictly.
    async with client(gateway, _strict_response_validation=form == "float") as ai:
        asked = ai.embeddings.create(model=gateway.model, input=["one", "two"], **more)
        if gateway.node is None:
            with pytest.raises(openai.BadRequestError, match="does not serve"):
                await asked
            return
        told = await asked
    assert isinstance(told, CreateEmbeddingResponse)
    assert [each.index for each in told.data] == [0, 1]
    assert told.data[0].embedding
    assert told.usage.prompt_tokens > 0


async def test_models(gateway: Target) -> None:
    async with client(gateway) as ai:
        listed = [model async for model in ai.models.list()]
        one = await ai.models.retrieve(gateway.model)
        with pytest.raises(openai.NotFoundError):
            await ai.models.retrieve("none")
    for model in (*listed, one):
        strictly(Model, model)
    assert gateway.model in [model.id for model in listed]


async def test_a_tool_call_and_its_answer(gateway: Target) -> None:
    asked = {"model": gateway.model, "tools": [WEATHER], "max_tokens": 100}
    async with client(gateway) as ai:
        told = await ai.chat.completions.create(**asked, messages=HELLO, tool_choice="required")
        strictly(ChatCompletion, told)
        (choice,) = told.choices
        assert choice.finish_reason == "tool_calls"
        call = choice.message.tool_calls[0]
        assert call.function.name == "weather"
        assert set(json.loads(call.function.arguments)) == {"city"}
        answered = [
            *HELLO,
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        last = await ai.chat.completions.create(**asked, messages=answered, tool_choice="none")
    assert last.choices[0].message.content
    assert not last.choices[0].message.tool_calls


async def test_a_streamed_tool_call(gateway: Target) -> None:
    async with (
        client(gateway) as ai,
        ai.chat.completions.stream(
            model=gateway.model,
            messages=HELLO,
            tools=[WEATHER],
            tool_choice="required",
            max_tokens=100,
        ) as stream,
    ):
        kinds = {event.type async for event in stream}
        told = await stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    (call,) = told.choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city"}
    assert told.choices[0].finish_reason == "tool_calls"


async def test_the_synchronous_client(gateway: Target) -> None:
    import asyncio

    def ask() -> str:
        with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.key) as ai:
            stream = ai.chat.completions.create(
                model=gateway.model, messages=HELLO, max_tokens=4, stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask)


async def test_errors_are_the_clients_exceptions(gateway: Target) -> None:
    async with client(gateway, api_key="sk-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as wrong_key:
            await stranger.chat.completions.create(model=gateway.model, messages=HELLO)
    async with client(gateway) as ai:
        with pytest.raises(openai.NotFoundError) as unknown:
            await ai.chat.completions.create(model="none", messages=HELLO)
        long = [{"role": "user", "content": "word " * 200_000}]
        with pytest.raises(openai.BadRequestError) as overflow:
            await ai.chat.completions.create(model=gateway.model, messages=long)
        with pytest.raises(openai.BadRequestError) as wrong:
            await ai.chat.completions.create(model=gateway.model, messages=HELLO, temperature=9)
    assert wrong_key.value.code == "invalid_api_key"
    assert unknown.value.code == "model_not_found"
    assert (overflow.value.code, overflow.value.param) == ("context_length_exceeded", "messages")
    assert wrong.value.param == "temperature"
    assert overflow.value.request_id


async def test_an_early_429_is_retried_by_the_client(gateway: Target) -> None:
    if gateway.node is None:
        pytest.skip("a real engine does not refuse at will: run without TOLLGATE_SDK_UP, too")
    async with client(gateway) as ai:
        await gateway.node.inject(Fault(status=503, requests=1))
        with pytest.raises(openai.RateLimitError) as refused:
            await ai.chat.completions.create(model=gateway.model, messages=HELLO)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    async with client(gateway, max_retries=2) as patient:
        await gateway.node.inject(Fault(status=503, requests=1))
        before = len(gateway.node.received)
        told = await patient.chat.completions.create(model=gateway.model, messages=HELLO)
        assert told.choices[0].message.content
        assert len(gateway.node.received) == before + 2


async def test_a_stream_that_breaks_raises(gateway: Target) -> None:
    if gateway.node is None:
        pytest.skip("a real engine does not break at will: run without TOLLGATE_SDK_UP, too")
    await gateway.node.inject(Fault(end_after_events=4))
    async with client(gateway) as ai:
        stream = await ai.chat.completions.create(model=gateway.model, messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="failed in the middle"):
            async for _ in stream:
                pass
