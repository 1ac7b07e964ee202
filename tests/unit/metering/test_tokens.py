"""Counts equal those of the tokenizer that the ranks were taken from."""

from __future__ import annotations

import json

import pytest

from metering.tokens import TokenCounter, TokenizerError

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLIT = {"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": False}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


def tokenizer(tmp_path, **changes):
    """A small tokenizer.json: it knows `the`, ` the`, `ll` and the two bytes of `é`."""
    merges = [["h", "e"], ["t", "he"], ["Ġ", "the"], ["l", "l"], ["Ã", "©"]]
    file = {
        "model": {"type": "BPE", "vocab": {}, "merges": merges},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPLIT, BYTE_LEVEL]},
        "normalizer": None,
        "added_tokens": [{"id": 0, "content": "<|im_end|>", "special": True}],
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file | changes))
    return path


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("the", 1),
        ("the the", 2),
        ("hello", 3),
        ("é", 1),
        ("\u65e5", 3),
        ("\x00", 1),
        ("<|im_end|>", 10),
        ("the\n\n  the", 5),
    ],
)
def test_counts(tmp_path, text, tokens):
    assert TokenCounter.from_tokenizer_json(tokenizer(tmp_path)).count(text) == tokens


def test_merges_may_be_written_as_text(tmp_path):
    model = {"type": "BPE", "vocab": {}, "merges": ["h e", "t he"]}
    assert TokenCounter.from_tokenizer_json(tokenizer(tmp_path, model=model)).count("the") == 1


def test_gpt2s_own_split_needs_no_pattern(tmp_path):
    path = tokenizer(tmp_path, pre_tokenizer=BYTE_LEVEL | {"use_regex": True})
    assert TokenCounter.from_tokenizer_json(path).count("the the") == 2


def test_no_text_goes_uncounted_even_if_the_pattern_skips_it(tmp_path):
    letters = SPLIT | {"pattern": {"Regex": "[a-z]+"}}
    sequence = {"type": "Sequence", "pretokenizers": [letters, BYTE_LEVEL]}
    counter = TokenCounter.from_tokenizer_json(tokenizer(tmp_path, pre_tokenizer=sequence))
    assert counter.count("the 123") == 5


def test_text_is_brought_into_the_tokenizers_normal_form(tmp_path):
    path = tokenizer(tmp_path, normalizer={"type": "NFC"})
    assert TokenCounter.from_tokenizer_json(path).count("e\u0301") == 1


def test_a_token_is_at_least_a_byte(tmp_path):
    counter = TokenCounter.from_tokenizer_json(tokenizer(tmp_path))
    for text in ("the \u65e5\u672c", "xyz" * 100, "\U0001f389"):
        assert counter.count(text) <= len(text.encode())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"type": "Unigram", "vocab": [["a", -1]]}}, "is Unigram, not byte-level BPE"),
        ({"model": {"type": "BPE", "byte_fallback": True}}, "BPE with byte fallback"),
        ({"model": {"type": "BPE", "merges": ["\u2581 t"]}}, "not written in byte-level"),
        ({"pre_tokenizer": None}, "pre-tokenizer is nothing"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "pre-tokenizer is Metaspace"),
        ({"pre_tokenizer": BYTE_LEVEL}, "pre-tokenizer is ByteLevel"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer is Lowercase"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPLIT, SPLIT, BYTE_LEVEL]}},
            "Split then Split then ByteLevel",
        ),
        (
            {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [SPLIT | {"pattern": {"Regex": "("}}, BYTE_LEVEL],
                }
            },
            "tiktoken refuses",
        ),
        ({"model": 5}, "no tokenizer.json"),
    ],
)
def test_what_tiktoken_cannot_express_is_refused_with_the_reason(tmp_path, changes, why):
    with pytest.raises(TokenizerError, match=why) as caught:
        TokenCounter.from_tokenizer_json(tokenizer(tmp_path, **changes))
    assert "tokenizer.json" in str(caught.value)
