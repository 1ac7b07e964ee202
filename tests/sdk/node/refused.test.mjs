// A node that is full for one request: openai-node is told 429 and tries again by itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const { BASE_URL, API_KEY, MODEL } = process.env;

test("an early 429 is retried", async () => {
  const statuses = [];
  const ai = new OpenAI({
    baseURL: BASE_URL,
    apiKey: API_KEY,
    maxRetries: 2,
    fetch: async (...asked) => {
      const answer = await fetch(...asked);
      statuses.push(answer.status);
      return answer;
    },
  });
  const messages = [{ role: "user", content: "Hello." }];
  const told = await ai.chat.completions.create({ model: MODEL, messages });
  assert.ok(told.choices[0].message.content);
  assert.deepEqual(statuses, [429, 200]);
});
