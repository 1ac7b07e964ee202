// openai-node drives every endpoint that it knows here. BASE_URL, API_KEY, MODEL, EMBEDS say where.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const { BASE_URL, API_KEY, MODEL, EMBEDS } = process.env;
const ai = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello." }];
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      parameters: {
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
        additionalProperties: false,
      },
    },
  },
];

test("chat", async () => {
  const told = await ai.chat.completions.create({ model: MODEL, messages, max_tokens: 8 });
  assert.equal(told.object, "chat.completion");
  assert.ok(told.choices[0].message.content);
  assert.ok(told.usage.completion_tokens >= 1 && told.usage.completion_tokens <= 8);
  assert.ok(told._request_id);
});

test("a chat stream", async () => {
  const stream = await ai.chat.completions.create({
    model: MODEL,
    messages,
    max_tokens: 8,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let last;
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk");
    text += chunk.choices[0]?.delta.content ?? "";
    last = chunk;
  }
  assert.ok(text);
  assert.ok(last.usage.completion_tokens >= 1);
});

test("the stream helper adds up", async () => {
  const runner = ai.chat.completions.stream({ model: MODEL, messages, max_tokens: 8 });
  const told = await runner.finalChatCompletion();
  assert.ok(told.choices[0].message.content);
});

test("completions, whole and streamed", async () => {
  const asked = { model: MODEL, prompt: "Once upon", max_tokens: 6 };
  const told = await ai.completions.create(asked);
  assert.equal(told.object, "text_completion");
  assert.ok(told.choices[0].text);
  let text = "";
  for await (const part of await ai.completions.create({ ...asked, stream: true })) {
    text += part.choices[0].text;
  }
  assert.ok(text);
});

test("embeddings", async () => {
  const asked = { model: MODEL, input: ["one", "two"] };
  if (!EMBEDS) {
    await assert.rejects(ai.embeddings.create(asked), OpenAI.BadRequestError);
    return;
  }
  const told = await ai.embeddings.create(asked);
  assert.equal(told.data.length, 2);
  assert.ok(told.data[0].embedding.every((number) => typeof number === "number"));
});

test("models", async () => {
  const ids = [];
  for await (const model of ai.models.list()) ids.push(model.id);
  assert.ok(ids.includes(MODEL));
  assert.equal((await ai.models.retrieve(MODEL)).id, MODEL);
});

test("a tool call, whole and streamed", async () => {
  const asked = { model: MODEL, messages, tools, tool_choice: "required", max_tokens: 100 };
  const told = await ai.chat.completions.create(asked);
  assert.equal(told.choices[0].finish_reason, "tool_calls");
  const [call] = told.choices[0].message.tool_calls;
  assert.equal(call.function.name, "weather");
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);
  const streamed = await ai.chat.completions.stream(asked).finalChatCompletion();
  const [same] = streamed.choices[0].message.tool_calls;
  assert.deepEqual(Object.keys(JSON.parse(same.function.arguments)), ["city"]);
});

test("errors", async () => {
  const ask = (client, more = {}) =>
    client.chat.completions.create({ model: MODEL, messages, ...more });
  const stranger = new OpenAI({ baseURL: BASE_URL, apiKey: "sk-wrong", maxRetries: 0 });
  await assert.rejects(ask(stranger), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_api_key");
    return true;
  });
  await assert.rejects(ask(ai, { model: "none" }), OpenAI.NotFoundError);
  const long = [{ role: "user", content: "word ".repeat(200_000) }];
  await assert.rejects(ask(ai, { messages: long }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.code, "context_length_exceeded");
    assert.equal(error.param, "messages");
    return true;
  });
});
