"""Counts tokens with tiktoken, by the ranks of the model's own tokenizer. Downloads nothing.

For estimates and limits only: what is billed is the node's usage wherever it tells. A byte-level
BPE tokenizer (GPT-2's kind: Llama 3, Qwen, Mistral and most others) is ranks and a split pattern,
and both are in `tokenizer.json`. What other kinds do cannot be said in tiktoken's terms: they are
refused.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    import tiktoken

_GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ANYTHING = r"|[\s\S]"
"""tiktoken drops what its pattern does not match; no text may go uncounted."""

_Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


class TokenizerError(ValueError):
    """The file is no tokenizer.json, or its tokenizer is of a kind that tiktoken cannot express."""


class _Part(msgspec.Struct):
    """A normalizer or pre-tokenizer."""

    type: str
    normalizers: list[_Part] = []
    pretokenizers: list[_Part] = []
    pattern: dict[str, str] = {}
    behavior: str = ""
    invert: bool = False
    use_regex: bool = True
    add_prefix_space: bool = False


class _Model(msgspec.Struct):
    type: str = ""
    vocab: dict[str, int] | list[Any] = {}
    merges: list[str | tuple[str, str]] = []
    byte_fallback: bool = False


class _TokenizerFile(msgspec.Struct):
    model: _Model
    pre_tokenizer: _Part | None = None
    normalizer: _Part | None = None


class TokenCounter:
    """Thread-safe."""

    def __init__(self, encoding: tiktoken.Encoding, form: _Form | None = None) -> None:
        self._encoding = encoding
        self._form = form

    @classmethod
    def from_tokenizer_json(cls, path: Path) -> TokenCounter:
        """Raises OSError, TokenizerError."""
        import tiktoken  # here, because without a tokenizer of its own no model needs it

        try:
            file = msgspec.json.decode(path.read_bytes(), type=_TokenizerFile)
        except msgspec.MsgspecError as error:
            raise TokenizerError(f"{path} is no tokenizer.json: {error}") from error
        try:
            encoding = tiktoken.Encoding(
                name=str(path),
                pat_str=_pattern(file.pre_tokenizer) + _ANYTHING,
                mergeable_ranks=_ranks(file.model),
                special_tokens={},
            )
            return cls(encoding, _form(file.normalizer))
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None
        except ValueError as error:
            raise TokenizerError(f"{path}: tiktoken refuses it: {error}") from error

    def count(self, text: str) -> int:
        """Tokens of the text by itself: no chat template around it, no special tokens in it."""
        if self._form is not None:
            text = unicodedata.normalize(self._form, text)
        return len(self._encoding.encode_ordinary(text))


def _ranks(model: _Model) -> dict[bytes, int]:
    """Rank of each token: single bytes first, then the merges in their order."""
    if model.type != "BPE" or model.byte_fallback:
        kind = "BPE with byte fallback" if model.byte_fallback else model.type or "an unnamed kind"
        raise TokenizerError(f"its model is {kind}, not byte-level BPE")
    byte_of = _byte_of_character()
    ranks = {bytes([byte]): rank for rank, byte in enumerate(byte_of.values())}
    for merge in model.merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        try:
            token = bytes(byte_of[character] for part in pair for character in part)
        except KeyError as error:
            raise TokenizerError(
                f"merge {merge!r} is not written in byte-level characters"
            ) from error
        ranks.setdefault(token, len(ranks))
    return ranks


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + i): byte for i, byte in enumerate(others)})
    return alphabet


def _pattern(part: _Part | None) -> str:
    """The split pattern of the pre-tokenizer."""
    steps = [] if part is None else (part.pretokenizers or [part])
    match steps:
        case [_Part(type="ByteLevel", use_regex=True, add_prefix_space=False)]:
            return _GPT2_PATTERN
        case [
            _Part(type="Split", behavior="Isolated", invert=False) as split,
            _Part(type="ByteLevel", use_regex=False, add_prefix_space=False),
        ] if "Regex" in split.pattern:
            return split.pattern["Regex"]
    found = " then ".join(step.type for step in steps) or "nothing"
    raise TokenizerError(f"its pre-tokenizer is {found}: one split pattern and ByteLevel is needed")


def _form(part: _Part | None) -> _Form | None:
    """The Unicode normal form that the tokenizer brings text into first."""
    steps = [] if part is None else (part.normalizers or [part])
    match [step.type for step in steps]:
        case []:
            return None
        case ["NFC" | "NFD" | "NFKC" | "NFKD" as form]:
            return form
        case found:
            raise TokenizerError(f"its normalizer is {' then '.join(found)}, not a Unicode form")
