// Vercel's AI SDK: a chat, a stream, a tool call, and a tool run to its answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { BASE_URL, API_KEY, MODEL } = process.env;
const provider = createOpenAICompatible({
  name: "tollgate",
  baseURL: BASE_URL,
  apiKey: API_KEY,
  includeUsage: true,
});
const model = provider(MODEL);
const asked = { model, prompt: "Hello.", maxRetries: 0 };
const weather = tool({
  description: "The weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

test("a chat", async () => {
  const told = await generateText({ ...asked, maxOutputTokens: 8 });
  assert.ok(told.text);
  assert.ok(told.usage.outputTokens >= 1 && told.usage.outputTokens <= 8);
});

test("a stream", async () => {
  const stream = streamText({ ...asked, maxOutputTokens: 8 });
  let text = "";
  for await (const part of stream.textStream) text += part;
  assert.ok(text);
  assert.ok((await stream.usage).outputTokens >= 1);
});

test("a tool call", async () => {
  const told = await generateText({ ...asked, tools: { weather }, toolChoice: "required" });
  assert.equal(told.finishReason, "tool-calls");
  assert.equal(told.toolCalls[0].toolName, "weather");
  assert.equal(typeof told.toolCalls[0].input.city, "string");
  assert.match(told.toolResults[0].output, /^sunny in /);
});

test("a streamed tool call, and what the model says of its result", async () => {
  const stream = streamText({
    ...asked,
    tools: { weather },
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
    stopWhen: stepCountIs(2),
  });
  const steps = await stream.steps;
  assert.equal(steps.length, 2);
  assert.equal(steps[0].toolCalls[0].toolName, "weather");
  assert.ok(steps[1].text);
});
