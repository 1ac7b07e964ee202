"""What people build with: each does a chat, a stream and a tool call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from sdk.target import Target

pytestmark = pytest.mark.anyio
LLM_TIMEOUT_S = 60


class Weather(BaseModel):
    """The weather of a city."""

    city: str


@pytest.fixture
async def http(anyio_backend):
    """The frameworks keep connections for the life of their process, unless one is given."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


def langchain(gateway: Target, http: httpx.AsyncClient) -> ChatOpenAI:
    return ChatOpenAI(
        model=gateway.model,
        base_url=gateway.base_url,
        api_key=gateway.key,
        max_tokens=100,
        max_retries=0,
        stream_usage=True,
        http_async_client=http,
    )


async def test_langchain(gateway: Target, http: httpx.AsyncClient) -> None:
    chat = langchain(gateway, http)
    told = await chat.ainvoke("Hello.")
    assert told.content
    assert told.usage_metadata["output_tokens"] > 0
    whole: AIMessageChunk | None = None
    async for chunk in chat.astream("Hello."):
        whole = chunk if whole is None else whole + chunk
    assert whole.content
    assert whole.usage_metadata["output_tokens"] > 0


async def test_langchain_calls_a_tool(gateway: Target, http: httpx.AsyncClient) -> None:
    chat = langchain(gateway, http).bind_tools([Weather], tool_choice="required")
    told = await chat.ainvoke("Hello.")
    whole: AIMessageChunk | None = None
    async for chunk in chat.astream("Hello."):
        whole = chunk if whole is None else whole + chunk
    for answer in (told, whole):
        (call,) = answer.tool_calls
        assert call["name"] == "Weather"
        assert set(call["args"]) == {"city"}
        assert not answer.invalid_tool_calls


@contextlib.asynccontextmanager
async def agent(gateway: Target, **more) -> AsyncIterator[Agent]:
    async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.key) as client:
        model = OpenAIChatModel(gateway.model, provider=OpenAIProvider(openai_client=client))
        yield Agent(model, **more)


async def test_pydantic_ai(gateway: Target) -> None:
    async with agent(gateway, model_settings={"max_tokens": 20}) as plain:
        assert (await plain.run("Hello.")).output
        async with plain.run_stream("Hello.") as stream:
            pieces = [piece async for piece in stream.stream_text(delta=True)]
    assert "".join(pieces)


async def test_pydantic_ai_takes_its_output_from_a_tool_call(gateway: Target) -> None:
    async with agent(gateway, output_type=ToolOutput(Weather)) as typed:
        told = await typed.run("Hello.")
    assert isinstance(told.output, Weather)
    assert told.usage.output_tokens > 0


async def test_anthropics_sdk(gateway: Target) -> None:
    asked = {
        "model": gateway.model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello."}],
    }
    tools = [{"name": "weather", "input_schema": Weather.model_json_schema()}]
    async with anthropic.AsyncAnthropic(
        base_url=gateway.origin, api_key=gateway.key, max_retries=0
    ) as claude:
        told = await claude.messages.create(**asked)
        async with claude.messages.stream(**asked) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        called = await claude.messages.create(**asked, tools=tools, tool_choice={"type": "any"})
        async with claude.messages.stream(
            **asked, tools=tools, tool_choice={"type": "any"}
        ) as stream:
            streamed = await stream.get_final_message()
    assert told.content[0].text
    assert text
    for answer in (called, streamed):
        assert answer.stop_reason == "tool_use"
        (use,) = [block for block in answer.content if block.type == "tool_use"]
        assert use.name == "weather"
        assert set(use.input) == {"city"}


async def test_llm(gateway: Target, tmp_path: Path) -> None:
    """Simon Willison's command, with the gateway in its extra-openai-models.yaml."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: tollgate\n  model_name: {gateway.model}\n  api_base: {gateway.base_url}\n"
        "  api_key_name: tollgate\n  supports_tools: true\n"
    )

    def llm(*arguments: str) -> str:
        command = [sys.executable, "-W", "ignore", "-m", "llm", "-m", "tollgate"]
        done = subprocess.run(
            [*command, "--key", gateway.key, *arguments, "Hello."],
            env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=LLM_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert (await asyncio.to_thread(llm, "--no-stream", "-o", "max_tokens", "20")).strip()
    assert (await asyncio.to_thread(llm, "-o", "max_tokens", "20")).strip()
    function = 'def weather(city: str) -> str:\n    return f"sunny in {city}"\n'
    told = await asyncio.to_thread(llm, "--functions", function, "--td")
    assert told.strip()
    if gateway.node is not None:  # no real model need call it: `llm` cannot require that
        assert "sunny in" in told
        last = json.loads(gateway.node.received[-1].body)
        assert last["messages"][-1]["role"] == "tool"
