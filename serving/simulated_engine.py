"""What an inference engine does to a request, without a model: tokens, their timing, its counters.

One token per word: a run of characters without spaces, with the spaces before it. A chat message
costs `MESSAGE_TOKENS` more for its role and its end, and the answer's opening as much again.
Answers are words drawn by a seed: the same engine seed, prompt, sampling seed and choice give the
same answer; a prompt that ends with the ids of its beginning is answered with the rest. No text
has such ids.
"""

import re
from collections import Counter
from collections.abc import Sequence
from random import Random
from zlib import crc32

import msgspec

MESSAGE_TOKENS = 3
VOCABULARY = 32_000
LENGTHS = range(12, 64)
"""Tokens after which an answer ends by itself."""
CACHED_PROMPTS_MAX = 10_000

_WORD = re.compile(r"\s*\S+")
# Some are more than one byte a character, so that a split inside one is a case that occurs.
_WORDS = tuple(
    re.findall(
        r"\S+",
        "The gateway counts every token it relays and the ledger keeps each count "
        "while nodes answer in turn : naïve café Zürich 日本 語 🙂 Ω fee vault",
    )
)


class Token(msgspec.Struct, frozen=True, gc=False):
    """One generated token."""

    id: int
    text: str


class Choice(msgspec.Struct, frozen=True):
    """One answer, whole: generated ahead, delivered by the clock."""

    tokens: tuple[Token, ...]
    finish_reason: str
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        """The text of all tokens."""
        return "".join(token.text for token in self.tokens)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast an engine is. A request's first token takes `ttft_ms`, the others `token_ms`, and
    each of them `crowd_ms` more for every other request that runs.
    """

    ttft_ms: float = 0.0
    token_ms: float = 0.0
    crowd_ms: float = 0.0

    def due_s(self, tokens: int) -> float:
        """Return the time from the request to its n-th token, in seconds."""
        return (self.ttft_ms + self.token_ms * (tokens - 1)) / 1000


def tokenize(text: str) -> list[int]:
    """Return the token ids of a text."""
    return [crc32(word.encode()) % VOCABULARY for word in _WORD.findall(text)]


def tokenize_chat(messages: Sequence[tuple[str, str]]) -> list[int]:
    """Return the token ids of (role, text) messages with the answer's opening."""
    ids: list[int] = []
    for role, text in (*messages, ("assistant", "")):
        opening = tokenize(f"<|{role}|>") * MESSAGE_TOKENS
        ids += opening + tokenize(text)
    return ids


class SimulatedEngine:
    """Generates answers and counts what it did, as vLLM's `/metrics` does."""

    def __init__(self, *, seed: int = 0, block_size: int = 16) -> None:
        self.seed = seed
        self.block_size = block_size
        self.running = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.cached_tokens = 0
        self.finished: Counter[str] = Counter()
        """Requests by finish reason; `abort` for those whose client left."""
        self._blocks: dict[int, None] = {}

    def generate(
        self,
        prompt: Sequence[int],
        *,
        tokens_max: int,
        seed: int = 0,
        index: int = 0,
        stop: Sequence[str] = (),
        ignore_eos: bool = False,
    ) -> Choice:
        """Return one answer to a prompt of token ids, or the rest of it."""
        begun = next((at for at, id_ in enumerate(prompt) if id_ >= VOCABULARY), len(prompt))
        prompt, begun_ids = prompt[:begun], prompt[begun:]
        tokens_max += len(begun_ids)
        rng = Random(f"{self.seed} {crc32(repr(prompt).encode())} {seed} {index}")
        length = tokens_max if ignore_eos else min(tokens_max, rng.choice(LENGTHS))
        words = [rng.randrange(len(_WORDS)) for _ in range(length)]
        tokens = tuple(
            Token(VOCABULARY + word, " " * (place > 0) + _WORDS[word])
            for place, word in enumerate(words)
        )[len(begun_ids) :]
        return _stop(tokens, stop) or Choice(tokens, "length" if length == tokens_max else "stop")

    def prefill(self, prompt: Sequence[int], choices: int = 1) -> int:
        """Count a prompt and return how many of its tokens were in the prefix cache.

        As in vLLM, only whole blocks are cached, a prompt's last token is always computed, and the
        counter (not the usage) has the prompt once for each choice.
        """
        block_hash, hits, missed = 0, 0, False
        for end in range(self.block_size, len(prompt) + 1, self.block_size):
            block_hash = hash((block_hash, tuple(prompt[end - self.block_size : end])))
            missed = missed or block_hash not in self._blocks or end >= len(prompt)
            hits += not missed
            self._blocks[block_hash] = None
        while len(self._blocks) > CACHED_PROMPTS_MAX:
            del self._blocks[next(iter(self._blocks))]
        cached = hits * self.block_size
        self.prompt_tokens += len(prompt) * choices
        self.cached_tokens += cached
        return cached


def _stop(tokens: tuple[Token, ...], stop: Sequence[str]) -> Choice | None:
    """Cut an answer before the first stop string in it; the token that completed it counts."""
    text = ""
    for count, token in enumerate(tokens, start=1):
        text += token.text
        found = [(text.find(string), string) for string in stop if string in text]
        if found:
            end, string = min(found)
            return Choice(_clip(tokens[:count], end), "stop", string)
    return None


def _clip(tokens: tuple[Token, ...], end: int) -> tuple[Token, ...]:
    """Keep the first `end` characters of the tokens' text, and every token."""
    clipped = []
    for token in tokens:
        clipped.append(Token(token.id, token.text[: max(0, end)]))
        end -= len(token.text)
    return tuple(clipped)
