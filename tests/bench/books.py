"""What the ledger holds after a run, against what was sent and what the node wrote. Pure."""

from __future__ import annotations

import re

import msgspec

from .job import Counted
from .mock_node import Tally
from .node_bytes import PROMPT

_LINE = re.compile(r"^books: (\{.*\})$", re.MULTILINE)


class BooksError(RuntimeError):
    """The gateway said nothing of its books."""


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """As serve.py tells them."""

    charges: int
    requests: int
    """Different request ids among the charges."""
    prompt_tokens: int
    completion_tokens: int
    by_outcome: dict[str, int]
    held_nano_usd: int
    """Credit still set aside for requests; after the last one it must be 0."""


def told(log: str) -> Books:
    """The books that the end of a gateway's log tells. Raises BooksError."""
    found = _LINE.findall(log)
    if not found:
        raise BooksError(f"the gateway ended without telling its books; its log ends:\n{log}")
    return msgspec.json.decode(found[-1], type=Books)


def faults(books: Books, counted: Counted, tally: Tally) -> list[str]:
    """What is wrong with the books; nothing if there is one charge for each request, to the token.

    What was finished is known exactly. A stream that was cut is charged at least for what its
    reader got and at most for what the node wrote: between the two lies what was on its way.
    """
    found = []
    if counted.failed:
        found.append(f"{counted.failed} of {counted.sent} requests failed")
    if books.charges != counted.sent:
        found.append(f"{books.charges} charges for {counted.sent} requests sent")
    if books.requests != books.charges:
        found.append(f"{books.charges} charges, but only {books.requests} different requests")
    prompts = range((counted.sent - counted.cut) * len(PROMPT), counted.sent * len(PROMPT) + 1)
    if books.prompt_tokens not in prompts:  # one cut before the node said a word is free
        found.append(f"{books.prompt_tokens} prompt tokens charged, {prompts[-1]} were sent")
    least = counted.finished_tokens + counted.cut_tokens
    most = tally.finished_tokens + tally.cut_tokens
    if not least <= books.completion_tokens <= most:
        found.append(
            f"{books.completion_tokens} completion tokens charged; "
            f"{least} reached their readers, {most} were written"
        )
    if not counted.cut and least != most:
        found.append(f"{least} tokens reached their readers, but the node wrote {most}")
    if books.held_nano_usd:
        found.append(f"{books.held_nano_usd} nano-USD are still held")
    return found
