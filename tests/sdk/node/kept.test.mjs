// openai-node drives what the gateway keeps: responses, files, batches.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const { BASE_URL, API_KEY, MODEL } = process.env;
const ai = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const WAIT_MS = 60_000;

async function until(look, good) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (good(found)) return found;
    assert.ok(Date.now() < deadline, JSON.stringify(found));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("responses, whole, carried on, streamed, listed and deleted", async () => {
  const asked = { model: MODEL, max_output_tokens: 16 };
  const first = await ai.responses.create({ ...asked, input: "Hello." });
  assert.equal(first.object, "response");
  assert.ok(first.output_text);
  const stream = ai.responses.stream({
    ...asked,
    input: "And then?",
    previous_response_id: first.id,
  });
  let text = "";
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  const second = await stream.finalResponse();
  assert.equal(second.output_text, text);
  assert.equal((await ai.responses.retrieve(second.id)).id, second.id);
  const items = [];
  for await (const item of ai.responses.inputItems.list(second.id)) items.push(item);
  assert.equal(items[0].content[0].text, "And then?");
  await ai.responses.delete(second.id);
  await assert.rejects(ai.responses.retrieve(second.id), OpenAI.NotFoundError);
});

test("a response calls a tool", async () => {
  const told = await ai.responses.create({
    model: MODEL,
    input: "Hello.",
    tool_choice: "required",
    tools: [
      {
        type: "function",
        name: "weather",
        strict: true,
        parameters: {
          type: "object",
          properties: { city: { type: "string" } },
          required: ["city"],
          additionalProperties: false,
        },
      },
    ],
  });
  const [call] = told.output.filter((item) => item.type === "function_call");
  assert.deepEqual(Object.keys(JSON.parse(call.arguments)), ["city"]);
});

test("a response in the background", async () => {
  const made = await ai.responses.create({ model: MODEL, input: "Hello.", background: true });
  const over = await until(
    () => ai.responses.retrieve(made.id),
    ({ status }) => !["queued", "in_progress"].includes(status),
  );
  assert.equal(over.status, "completed");
  assert.equal((await ai.responses.cancel(made.id)).status, "completed");
});

test("files and batches", async () => {
  const messages = [{ role: "user", content: "Hello." }];
  const line = JSON.stringify({
    custom_id: "one",
    method: "POST",
    url: "/v1/chat/completions",
    body: { model: MODEL, messages, max_tokens: 8 },
  });
  const file = await ai.files.create({
    file: await toFile(Buffer.from(line), "in.jsonl"),
    purpose: "batch",
  });
  const files = [];
  for await (const each of ai.files.list()) files.push(each.id);
  assert.ok(files.includes(file.id));
  assert.equal((await ai.files.retrieve(file.id)).filename, "in.jsonl");
  assert.equal(await (await ai.files.content(file.id)).text(), line);
  const made = await ai.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  const done = await until(
    () => ai.batches.retrieve(made.id),
    ({ status }) => ["completed", "failed", "expired", "cancelled"].includes(status),
  );
  assert.equal(done.status, "completed");
  const batches = [];
  for await (const each of ai.batches.list()) batches.push(each.id);
  assert.ok(batches.includes(made.id));
  const told = JSON.parse(await (await ai.files.content(done.output_file_id)).text());
  assert.ok(told.response.body.choices[0].message.content);
  await assert.rejects(ai.batches.cancel(made.id), OpenAI.ConflictError);
  assert.equal((await ai.files.delete(file.id)).deleted, true);
});
