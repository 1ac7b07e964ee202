"""A real tokenizer.json that agrees with the simulated engine: each of its words is one token."""

from __future__ import annotations

import json
from pathlib import Path

from metering.tokens import _byte_of_character
from serving.simulated_engine import _WORDS

WORDS = _WORDS

_CHARACTER_OF = {byte: character for character, byte in _byte_of_character().items()}


def write_word_tokenizer(path: Path) -> Path:
    """Byte-level BPE whose merges make every word whole, with a space before it and without."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for text in (word, " " + word):
            pieces = _pieces("".join(_CHARACTER_OF[byte] for byte in text.encode()), merges)
            while len(pieces) > 1:
                merges.append((pieces[0], pieces[1]))
                pieces[:2] = [pieces[0] + pieces[1]]
    file = {
        "model": {"type": "BPE", "vocab": {}, "merges": merges},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    }
    path.write_text(json.dumps(file))
    return path


def _pieces(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """What is left of a word after all merges so far, in their order."""
    pieces = list(word)
    for one, other in merges:
        place = 0
        while place < len(pieces) - 1:
            if (pieces[place], pieces[place + 1]) == (one, other):
                pieces[place : place + 2] = [one + other]
            place += 1
    return pieces
