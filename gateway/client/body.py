"""A chunked request body, unchunked by llhttp. Pure."""

from __future__ import annotations

import httptools

from gateway import errors

_HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class ChunkedBody:
    """Fed with the bytes after a head that announced chunks."""

    def __init__(self) -> None:
        self.complete = False
        self.overrun = False
        """Bytes of another request came with the last ones: where it begins is not known."""
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_HEAD)

    def feed(self, data: bytes) -> bytes:
        """What of the body these bytes hold. Raises ApiError (400)."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise errors.bad_http(str(error)) from None
            self.overrun = True
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body

    def on_message_begin(self) -> None:
        if self.complete:
            raise httptools.HttpParserError("a request behind the body")

    def on_message_complete(self) -> None:
        self.complete = True
