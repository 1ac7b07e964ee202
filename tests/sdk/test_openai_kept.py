"""openai-python drives what the gateway keeps: responses, files, batches."""

from __future__ import annotations

import io
import json

import openai
import pytest
from openai.types import Batch, FileDeleted, FileObject
from openai.types.responses import Response
from sdk.target import Target
from sdk.test_openai_python import HELLO, WEATHER, client, strictly
from served import eventually

pytestmark = pytest.mark.anyio
OVER = ("completed", "failed", "expired", "cancelled")


async def test_responses(gateway: Target) -> None:
    async with client(gateway) as ai:
        first = await ai.responses.create(
            model=gateway.model, input="Hello.", max_output_tokens=16, metadata={"a": "b"}
        )
        strictly(Response, first)
        assert first.output_text
        stream = await ai.responses.create(
            model=gateway.model,
            input="And then?",
            previous_response_id=first.id,
            max_output_tokens=16,
            stream=True,
        )
        events = [event async for event in stream]
        second = events[-1].response
        strictly(Response, second)
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text == second.output_text
        kept = await ai.responses.retrieve(second.id)
        assert kept.output_text == second.output_text
        items = [item async for item in ai.responses.input_items.list(second.id)]
        assert [item.content[0].text for item in items] == ["And then?"]
        await ai.responses.delete(second.id)
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(second.id)


async def test_a_response_calls_a_tool(gateway: Target) -> None:
    tool = {"type": "function", **WEATHER["function"]}
    asked = {"model": gateway.model, "input": "Hello.", "tools": [tool], "tool_choice": "required"}
    async with client(gateway) as ai:
        told = await ai.responses.create(**asked)
        stream = await ai.responses.create(**asked, stream=True)
        streamed = [event async for event in stream][-1].response
    for answer in (told, streamed):
        (call,) = [item for item in answer.output if item.type == "function_call"]
        assert set(json.loads(call.arguments)) == {"city"}


async def test_a_response_in_the_background(gateway: Target) -> None:
    async with client(gateway) as ai:
        made = await ai.responses.create(model=gateway.model, input="Hello.", background=True)
        strictly(Response, made)
        over = await eventually(
            lambda: ai.responses.retrieve(made.id),
            lambda found: found.status not in ("queued", "in_progress"),
        )
        assert over.status == "completed"
        # Cancelling what is over changes nothing.
        assert (await ai.responses.cancel(made.id)).status == "completed"


async def test_files_and_batches(gateway: Target) -> None:
    body = {"model": gateway.model, "messages": HELLO, "max_tokens": 8}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    data = json.dumps(line).encode()
    async with client(gateway) as ai:
        file = await ai.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")
        strictly(FileObject, file)
        assert file.id in [each.id async for each in ai.files.list()]
        assert (await ai.files.retrieve(file.id)).bytes == len(data)
        assert (await ai.files.content(file.id)).content == data
        made = await ai.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        strictly(Batch, made)
        assert made.id in [each.id async for each in ai.batches.list()]
        done = await eventually(
            lambda: ai.batches.retrieve(made.id), lambda batch: batch.status in OVER
        )
        assert done.status == "completed"
        (answer,) = (await ai.files.content(done.output_file_id)).text.splitlines()
        told = json.loads(answer)
        assert told["custom_id"] == "one"
        assert told["response"]["body"]["choices"][0]["message"]["content"]
        with pytest.raises(openai.ConflictError):
            await ai.batches.cancel(made.id)
        strictly(FileDeleted, await ai.files.delete(file.id))
