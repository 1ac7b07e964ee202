"""Canaries' questions: what people ask, in the form in which they ask it. `rng` is an argument.

A node should not be able to tell a canary from a customer, so there is no list of questions: they
are put together, with the parameters that clients send, and no two are alike.
"""

from __future__ import annotations

from random import Random
from typing import Any

_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a concise assistant. Answer in plain text.",
    "You answer questions about {topic} for beginners.",
    "You are an expert in {topic}. Be precise.",
    "Answer in English. If you do not know, say so.",
)
_QUESTIONS = (
    "What is {topic}, in two sentences?",
    "Explain {topic} to a {person}.",
    "How did {topic} change over the last {years} years?",
    "List {count} common mistakes with {topic} and how a {person} can avoid them.",
    "Write a short note to a {person} about {topic}.",
    "Compare {topic} and {other}. Which would you recommend to a {person}, and why?",
    "Give me {count} questions a {person} might ask about {topic}.",
    "Summarise what a {person} should know about {topic} before working with {other}.",
    "My {person} asked me about {topic} yesterday. What should I answer?",
)
_TOPICS = (
    "compound interest", "sourdough bread", "TCP congestion control", "the French Revolution",
    "photosynthesis", "garbage collection", "house insurance", "solar panels", "chess openings",
    "database indexes", "the water cycle", "bicycle gears", "public key cryptography", "jazz",
    "plate tectonics", "unit testing", "espresso", "tax returns", "migratory birds", "recursion",
    "supply chains", "vaccines", "the Roman aqueducts", "regular expressions", "knitting",
    "battery chemistry", "container ships", "time zones", "fermentation", "linear regression",
)  # fmt: skip
_PEOPLE = (
    "child", "student", "new colleague", "nurse", "farmer", "manager", "retired teacher",
    "journalist", "junior developer", "customer", "neighbour", "data analyst",
)  # fmt: skip
_TOKENS_MAX = (24, 32, 40, 48, 50, 60, 64)


def question(rng: Random, model: str) -> dict[str, Any]:
    """A chat whose answer is the same wherever the same model is: greedy, with logprobs."""
    words = {
        "topic": rng.choice(_TOPICS),
        "other": rng.choice(_TOPICS),
        "person": rng.choice(_PEOPLE),
        "years": rng.randrange(5, 60),
        "count": rng.randrange(3, 9),
    }
    messages = [{"role": "user", "content": rng.choice(_QUESTIONS).format(**words)}]
    if rng.random() < 0.7:
        system = rng.choice(_SYSTEMS).format(**words)
        messages.insert(0, {"role": "system", "content": system})
    asked: dict[str, Any] = {"model": model, "messages": messages}
    tokens = {rng.choice(("max_tokens", "max_completion_tokens")): rng.choice(_TOKENS_MAX)}
    greedy = {"temperature": 0, "logprobs": True, "top_logprobs": rng.randrange(3, 6)}
    for part in rng.sample([tokens, greedy], 2):
        asked |= part
    if rng.random() < 0.5:
        asked["stream"] = True
    return asked
