"""An answer's `reasoning` told once more as `reasoning_content`, as others call it. Pure.

Done by a pattern over the bytes: inside a JSON string every quote is escaped, so `"reasoning":`
can only be a key. vLLM writes no space behind a colon; what does is left as it is.
"""

from __future__ import annotations

import re

from metering.stream_meter import StreamMeter

_KEY = b'"reasoning":'
_REASONING = re.compile(rb'"reasoning":(null|"(?:[^"\\]|\\.)*")', re.DOTALL)


def with_alias(answer: bytes) -> bytes:
    return _REASONING.sub(rb'\g<0>,"reasoning_content":\1', answer)


class AliasingMeter(StreamMeter):
    """A meter whose events have the alias."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        passed = super().feed(data)
        return passed if passed.find(_KEY) < 0 else with_alias(passed)
