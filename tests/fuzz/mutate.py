"""Damage to bytes. Deterministic: everything comes from the generator that is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Damage = Callable[[Random, bytearray, Sequence[bytes]], None]

_NUMBERS = (
    b"0", b"-1", b"00", b"1e9", b"0x10", b"4294967296", b"4294967297", b"9223372036854775807",
    b"9223372036854775808", b"99999999999999999999999999", b"-0", b"1.5", b"+3", b"NaN", b"1_0",
)  # fmt: skip
_ODD = (
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b":", b";", b",", b"\x80",
    b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc0\xaf", b'"', b"\\", b"\\u0000", b"\\ud800",
    b"{", b"}", b"[", b"]", b"null", b"true",
)  # fmt: skip
_LONG = (100, 5_000, 70_000)


def mutate(rng: Random, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """These bytes, damaged once or a few times; `words` are worth putting in."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if damaged:
            rng.choices(_DAMAGES, _WEIGHTS)[0](rng, damaged, words)
    return bytes(damaged)


def _at(rng: Random, data: bytearray) -> int:
    return rng.randrange(len(data))


def _span(rng: Random, data: bytearray) -> tuple[int, int]:
    start = _at(rng, data)
    length = rng.choice((1, 2, 4, 16, 64, 256, len(data)))
    return start, min(len(data), start + rng.randint(1, length))


def _flip(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    data[_at(rng, data)] ^= 1 << rng.randrange(8)


def _set(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    data[_at(rng, data)] = rng.randrange(256)


def _insert(rng: Random, data: bytearray, words: Sequence[bytes]) -> None:
    at = _at(rng, data)
    data[at:at] = rng.choice(words if words and rng.random() < 0.6 else _ODD)


def _overwrite(rng: Random, data: bytearray, words: Sequence[bytes]) -> None:
    at, word = _at(rng, data), rng.choice(words if words and rng.random() < 0.6 else _ODD)
    data[at : at + len(word)] = word


def _delete(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(rng, data)
    del data[start:end]


def _repeat(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(rng, data)
    data[end:end] = data[start:end] * rng.choice((1, 1, 1, 2, 10))


def _splice(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(rng, data)
    at = _at(rng, data)
    data[at:at] = data[start:end]


def _truncate(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_at(rng, data) :]


def _number(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Another number where there is one."""
    digits = [at for at, byte in enumerate(data[:20_000]) if 48 <= byte <= 57]
    if digits:
        at = end = rng.choice(digits)
        while end < len(data) and 48 <= data[end] <= 57:
            end += 1
        while at and 48 <= data[at - 1] <= 57:
            at -= 1
        data[at:end] = rng.choice(_NUMBERS)


def _line(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A line twice, gone, or somewhere else."""
    lines = data.split(b"\r\n")
    if len(lines) < 3:
        return
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice((0, 1, 2))):
        lines.insert(rng.randrange(len(lines)), line)
    data[:] = b"\r\n".join(lines)


def _swell(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _at(rng, data)
    data[at:at] = bytes(data[at : at + 1]) * rng.choice(_LONG)


def _case(rng: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(rng, data)
    data[start:end] = data[start:end].swapcase()


_WEIGHTED: dict[Damage, int] = {
    _flip: 6, _set: 4, _insert: 8, _overwrite: 4, _delete: 5, _repeat: 3, _splice: 3,
    _truncate: 4, _number: 6, _line: 6, _swell: 1, _case: 1,
}  # fmt: skip
_DAMAGES, _WEIGHTS = list(_WEIGHTED), list(_WEIGHTED.values())
