"""A `multipart/form-data` body, its file written to disk as it comes: only a part of it is ever in
memory.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway import errors
from gateway.files.folder import FileFolder, Incoming

WRITE_BYTES = 256 * 1024
"""So much is gathered before a thread writes it."""
FIELDS_MAX = 16
FIELD_BYTES_MAX = 4096
NAME_CHARS_MAX = 255

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class Upload:
    """What a form held so far; `read` to its end. Whoever made it must `keep` or `discard` it."""

    def __init__(self, content_type: str, folder: FileFolder, file_bytes_max: int) -> None:
        """Raises ApiError (400) for a body that is no form."""
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._folder = folder
        self._file_bytes_max = file_bytes_max
        self._incoming: Incoming | None = None
        self._field = bytearray()
        self._pending = bytearray()
        self._header_name = self._header_value = b""
        self._part_name = ""
        self._in_file = False
        self._whole = False
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise errors.bad_request(
                "A file is uploaded as multipart/form-data, with the fields 'file' and 'purpose'.",
                code="invalid_content_type",
            )
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value_part,
                    "on_header_end": self._header_end,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _no_form(error) from None

    @property
    def size_bytes(self) -> int:
        return self._incoming.bytes if self._incoming is not None else 0

    async def read(self, body: AsyncIterator[bytes]) -> None:
        """Raises ApiError (400, 413) and OSError."""
        async for part in body:
            try:
                self._parser.write(part)
            except FormParserError as error:
                raise _no_form(error) from None
            if self.size_bytes + len(self._pending) > self._file_bytes_max:
                raise errors.body_too_large(self._file_bytes_max)
            if len(self._pending) >= WRITE_BYTES:
                await self._write()
        if not self._whole:
            raise _no_form("it ends before its last boundary")
        if self.filename is None:
            raise errors.bad_request(
                "Missing required parameter: 'file'.",
                param="file",
                code="missing_required_parameter",
            )
        await self._write()

    async def keep(self, file_id: str) -> None:
        assert self._incoming is not None
        await asyncio.to_thread(self._incoming.keep, file_id)
        self._incoming = None

    async def discard(self) -> None:
        """Unless it was kept."""
        if self._incoming is not None:
            await asyncio.to_thread(self._incoming.discard)

    async def _write(self) -> None:
        if self._incoming is None:
            self._incoming = await asyncio.to_thread(self._folder.begin)
        pending, self._pending = bytes(self._pending), bytearray()
        await asyncio.to_thread(self._incoming.write, pending)

    # -- what the parser finds --------------------------------------------------------------------

    def _part_begin(self) -> None:
        self._part_name = ""
        self._in_file = False
        self._field.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value_part(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        name, value = self._header_name.lower(), self._header_value
        self._header_name = self._header_value = b""
        if name != b"content-disposition":
            return
        _, options = parse_options_header(value)
        self._part_name = _text(options.get(b"name", b""))
        if self._part_name == "file":
            if self.filename is not None:
                raise errors.bad_request("There may be one 'file' only.", param="file")
            named = _text(options.get(b"filename", b"")).replace("\\", "/").rpartition("/")[2]
            self.filename = named[:NAME_CHARS_MAX] or "file"
            self._in_file = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pending += data[start:end]
            return
        self._field += data[start:end]
        if len(self._field) > FIELD_BYTES_MAX:
            raise errors.bad_request(
                f"The field '{self._part_name}' is longer than {FIELD_BYTES_MAX} bytes.",
                param=self._part_name,
                code="invalid_value",
            )

    def _part_end(self) -> None:
        if self._in_file:
            return
        if len(self.fields) >= FIELDS_MAX:
            raise errors.bad_request(f"The form has more than {FIELDS_MAX} fields.")
        self.fields[self._part_name] = _text(bytes(self._field))

    def _end(self) -> None:
        self._whole = True


def _text(raw: bytes) -> str:
    return _UNPRINTABLE.sub("", raw.decode("utf-8", "replace"))


def _no_form(reason: object) -> errors.ApiError:
    return errors.bad_request(
        f"The request body is not valid multipart/form-data: {str(reason)[:200]}.",
        code="invalid_form",
    )
