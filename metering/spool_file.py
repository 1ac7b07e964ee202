"""A segment of the spool in bytes: a header, then one record for each commit. Pure.

    header   magic 8 | format 4 | length 4 | checksum 4 | writer, first_seq, salt, open charges
    record   salt 8 | checksum 4 | length 4 | rows 4 | first_seq 8 | the rows
    then     zeros, as far as room was reserved

Lengths are those of the body in bytes. The checksum is a CRC-32 over all the rest of a header or
record: it finds flipped bits, sectors that never arrived and writes that were cut. It does not stop
a forger, who could work it out anew. The salt is random and one segment's own, so nothing that was
written for another file, or that a client chose, can begin a record here.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import msgspec

from metering.charge import Row

FORMAT = 1
SALT_BYTES = 8

_MAGIC = b"TGSPOOL\n"
_HEADER = struct.Struct("<8sII")
_RECORD = struct.Struct("<IIQ")
_CHECKSUM = struct.Struct("<I")

HEADER_BYTES = _HEADER.size + _CHECKSUM.size
"""Of a header without its body."""
RECORD_BYTES = SALT_BYTES + _CHECKSUM.size + _RECORD.size
"""Of a record without its body."""

_CHECKED_BYTES = 4096
"""zlib lets go of the interpreter lock above 5 KiB; getting it back costs more than the sum."""


class SpoolError(Exception):
    """The spool cannot be opened, or could not write: nothing more may be served until it can."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    writer: str
    first_seq: int
    """Of the first row in this segment."""
    salt: bytes
    open_rows: list[Row]
    """What leads to the charges that were open just before it."""


class Record(NamedTuple):
    first_seq: int
    rows: int
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(Header).decode
decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


def encode_header(header: Header) -> bytes:
    body = _encode(header)
    head = _HEADER.pack(_MAGIC, FORMAT, len(body))
    return b"".join((head, _CHECKSUM.pack(_checksum(head, body)), body))


def header_size(head: bytes) -> int:
    """The size of the header that begins with these bytes. Raises SpoolError if none does."""
    if len(head) < HEADER_BYTES or not head.startswith(_MAGIC):
        raise SpoolError("is no segment of a spool")
    _, found, length = _HEADER.unpack_from(head)
    if found != FORMAT:
        raise SpoolError(
            f"has format {found}, this Tollgate knows {FORMAT}: start the version that wrote it, "
            "let it drain, then start this one"
        )
    return HEADER_BYTES + int(length)


def decode_header(data: bytes) -> Header | None:
    """None if it is damaged."""
    head, checksum = data[: _HEADER.size], data[_HEADER.size : HEADER_BYTES]
    body = data[HEADER_BYTES:]
    if _CHECKSUM.pack(_checksum(head, body)) != checksum:
        return None
    return _decode_header(body)


def encode_record(salt: bytes, first_seq: int, rows: list[Row]) -> bytes:
    body = _encode(rows)
    head = _RECORD.pack(len(body), len(rows), first_seq)
    return b"".join((salt, _CHECKSUM.pack(_checksum(salt, head, body)), head, body))


def record_size(head: bytes, salt: bytes) -> int | None:
    """The size of the record that begins with these bytes; None if none seems to."""
    if len(head) < RECORD_BYTES or not head.startswith(salt):
        return None
    length, _, _ = _RECORD.unpack_from(head, SALT_BYTES + _CHECKSUM.size)
    return RECORD_BYTES + int(length)


def decode_record(data: bytes, salt: bytes) -> Record | None:
    """The record that these bytes are; None if they are not one whole and sound record."""
    if record_size(data, salt) != len(data):
        return None
    head, body = data[SALT_BYTES + _CHECKSUM.size : RECORD_BYTES], data[RECORD_BYTES:]
    if _CHECKSUM.pack(_checksum(salt, head, body)) != data[SALT_BYTES:][: _CHECKSUM.size]:
        return None
    _, rows, first_seq = _RECORD.unpack(head)
    return Record(first_seq, rows, body)


def holds_record(data: bytes, salt: bytes) -> bool:
    """Whether a sound record begins anywhere in these bytes."""
    at = data.find(salt)
    while at >= 0:
        size = record_size(data[at : at + RECORD_BYTES], salt)
        if size is not None and decode_record(data[at : at + size], salt) is not None:
            return True
        at = data.find(salt, at + 1)
    return False


def _checksum(*parts: bytes) -> int:
    checksum = 0
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(part), _CHECKED_BYTES):
            checksum = zlib.crc32(view[start : start + _CHECKED_BYTES], checksum)
    return checksum
