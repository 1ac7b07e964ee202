"""A segment of the spool in bytes: a header, then one record for each commit. Pure.

    header   magic 8 | format 4 | length 4 | writer, first_seq, salt, open charges | checksum 4
    record   salt 8 | length 4 | rows 4 | first_seq 8 | the rows | checksum 4
    then     zeros, as far as room was reserved

A length is that of the body in bytes. The checksum is a CRC-32 of all before it: it finds flipped
bits, sectors that never arrived and writes that were cut. It does not stop a forger, who could work
it out anew. The salt is random and one segment's own, so nothing that was written for another file,
or that a client chose, can begin a record here.
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
_RECORD = struct.Struct("<8sIIQ")
_CHECKSUM = struct.Struct("<I")

HEADER_BYTES = _HEADER.size
"""Of a header before its body."""
RECORD_BYTES = _RECORD.size
"""Of a record before its body."""

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
    return _with_checksum(_HEADER.pack(_MAGIC, FORMAT, len(body)) + body)


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
    return HEADER_BYTES + int(length) + _CHECKSUM.size


def decode_header(data: bytes) -> Header | None:
    """None if it is damaged."""
    if not _is_sound(data):
        return None
    return _decode_header(data[HEADER_BYTES : -_CHECKSUM.size])


def encode_record(salt: bytes, first_seq: int, rows: list[Row]) -> bytes:
    body = _encode(rows)
    return _with_checksum(_RECORD.pack(salt, len(body), len(rows), first_seq) + body)


def record_size(head: bytes, salt: bytes) -> int | None:
    """The size of the record that begins with these bytes; None if none seems to."""
    if len(head) < RECORD_BYTES or not head.startswith(salt):
        return None
    _, length, _, _ = _RECORD.unpack_from(head)
    return RECORD_BYTES + int(length) + _CHECKSUM.size


def decode_record(data: bytes, salt: bytes) -> Record | None:
    """The record that these bytes are; None if they are not one whole and sound record."""
    if record_size(data, salt) != len(data) or not _is_sound(data):
        return None
    _, _, rows, first_seq = _RECORD.unpack_from(data)
    return Record(first_seq, rows, data[RECORD_BYTES : -_CHECKSUM.size])


def holds_record(data: bytes, salt: bytes) -> bool:
    """Whether a sound record begins anywhere in these bytes."""
    at = data.find(salt)
    while at >= 0:
        size = record_size(data[at : at + RECORD_BYTES], salt)
        if size is not None and decode_record(data[at : at + size], salt) is not None:
            return True
        at = data.find(salt, at + 1)
    return False


def _with_checksum(data: bytes) -> bytes:
    return data + _CHECKSUM.pack(_checksum(data))


def _is_sound(data: bytes) -> bool:
    end = -_CHECKSUM.size
    return _CHECKSUM.pack(_checksum(data[:end])) == data[end:]


def _checksum(data: bytes) -> int:
    if len(data) <= _CHECKED_BYTES:
        return zlib.crc32(data)
    checksum, view = 0, memoryview(data)
    for start in range(0, len(data), _CHECKED_BYTES):
        checksum = zlib.crc32(view[start : start + _CHECKED_BYTES], checksum)
    return checksum
