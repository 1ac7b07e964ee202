// Chat with a model over the gateway's own API. The key lives in one variable and nowhere else.
"use strict";

const at = (id) => document.getElementById(id);
const state = { key: "", turns: [], stop: null, tokens: 0, nanoUsd: 0, requests: 0 };

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

async function failure(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The gateway answered ${answer.status}.`;
  }
}

async function ask(path, options = {}) {
  const headers = { authorization: `Bearer ${state.key}`, "content-type": "application/json" };
  const answer = await fetch(path, { ...options, headers, credentials: "omit" });
  if (!answer.ok) throw new Error(await failure(answer));
  return answer;
}

async function connect() {
  state.key = at("key").value.trim();
  const models = (await (await ask("/v1/models")).json()).data;
  const chats = models.filter((model) => model.kinds.includes("chat"));
  at("model").replaceChildren(...chats.map((model) => new Option(model.id, model.id)));
  for (const id of ["model", "said", "send", "clear"]) at(id).disabled = !chats.length;
  if (!chats.length) throw new Error("This key may use no model that chats.");
  at("said").focus();
}

function turn(who, text) {
  at("nothing").hidden = true;
  const item = document.createElement("li");
  item.className = who;
  const name = document.createElement("span");
  name.className = "who";
  name.textContent = who === "user" ? "You" : at("model").value;
  const words = document.createElement("div");
  words.className = "words";
  words.textContent = text;
  const facts = document.createElement("div");
  facts.className = "facts soft";
  item.append(name, words, facts);
  at("turns").append(item);
  item.scrollIntoView({ block: "end" });
  return { item, words, facts };
}

// The events of a stream: `data:` lines, one JSON object each, until [DONE].
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue;
      const data = part.slice(6);
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

const usd = (nano) => "$" + (nano / 1e9).toFixed(9).replace(/0{1,7}$/, "");

async function node(requestId) {
  for (let tries = 0; tries < 20; tries += 1) {
    const answer = await fetch(`/console/served/${encodeURIComponent(requestId)}`, {
      redirect: "manual",
    });
    if (answer.ok) return (await answer.json()).node;
    if (answer.status !== 404) return null; // not logged in to the console
    await new Promise((later) => setTimeout(later, 150));
  }
  return null;
}

function told(facts, usage, beganMs, firstMs, endMs, name) {
  const parts = [];
  if (usage) {
    parts.push(`${usage.prompt_tokens} prompt + ${usage.completion_tokens} completion tokens`);
    if (usage.cost_nano_usd !== undefined) parts.push(usd(usage.cost_nano_usd));
    const tookS = (endMs - firstMs) / 1000;
    if (tookS > 0.05) parts.push(`${((usage.completion_tokens - 1) / tookS).toFixed(0)} tokens/s`);
  }
  if (firstMs) parts.push(`first token after ${Math.round(firstMs - beganMs)} ms`);
  if (name) parts.push(`node ${name}`);
  facts.textContent = parts.join(" · ");
}

function body() {
  const system = at("system").value.trim();
  const before = system ? [{ role: "system", content: system }] : [];
  return JSON.stringify({
    model: at("model").value,
    messages: [...before, ...state.turns],
    max_tokens: Number(at("most").value) || 512,
    temperature: Number(at("temperature").value),
    stream: true,
    stream_options: { include_usage: true },
    usage: { include: true },
  });
}

function busy(is) {
  at("send").disabled = is;
  at("stop").hidden = !is;
  at("turns").setAttribute("aria-busy", String(is));
}

async function send() {
  const said = at("said").value.trim();
  if (!said) return;
  state.turns.push({ role: "user", content: said });
  const asked = turn("user", said);
  at("said").value = "";
  const shown = turn("assistant", "");
  shown.words.classList.add("waiting");
  state.stop = new AbortController();
  busy(true);
  const beganMs = performance.now();
  let text = "", usage = null, firstMs = 0, requestId = "";
  try {
    const answer = await ask("/v1/chat/completions", {
      method: "POST", body: body(), signal: state.stop.signal,
    });
    requestId = answer.headers.get("x-request-id") || "";
    for await (const event of events(answer.body)) {
      if (event.error) throw new Error(event.error.message);
      usage = event.usage || usage;
      const delta = event.choices?.[0]?.delta || {};
      const piece = (delta.reasoning || "") + (delta.content || "");
      if (piece && !firstMs) firstMs = performance.now();
      text += piece;
      shown.words.textContent = text;
    }
  } catch (error) {
    if (error.name === "AbortError") shown.words.append(" (stopped)");
    else problem(error.message);
  }
  const endMs = performance.now();
  shown.words.classList.remove("waiting");
  if (text) {
    state.turns.push({ role: "assistant", content: text });
  } else { // as if it had not been said, so that it can be said again
    state.turns.pop();
    at("said").value = said;
    for (const each of [asked, shown]) each.item.remove();
    at("nothing").hidden = state.turns.length > 0;
  }
  told(shown.facts, usage, beganMs, firstMs, endMs, null);
  if (usage) sum(usage);
  busy(false);
  at("said").focus();
  const name = requestId && (await node(requestId));
  if (name) told(shown.facts, usage, beganMs, firstMs, endMs, name);
}

function sum(usage) {
  state.requests += 1;
  state.tokens += usage.prompt_tokens + usage.completion_tokens;
  state.nanoUsd += usage.cost_nano_usd || 0;
  const requests = state.requests === 1 ? "1 request" : `${state.requests} requests`;
  at("sum").textContent = `So far ${requests}, ${state.tokens} tokens, ${usd(state.nanoUsd)}.`;
}

function anew() {
  state.turns = [];
  at("turns").replaceChildren();
  at("nothing").hidden = false;
  at("said").focus();
}

const doing = (work) => (event) => {
  event.preventDefault();
  problem("");
  work().catch((error) => problem(error.message));
};

at("connect").addEventListener("submit", doing(connect));
at("ask").addEventListener("submit", doing(send));
at("stop").addEventListener("click", () => state.stop?.abort());
at("clear").addEventListener("click", anew);
at("said").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!at("send").disabled) at("ask").requestSubmit();
  }
});
