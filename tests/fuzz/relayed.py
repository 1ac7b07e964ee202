"""Is an answer to a client what its node said? A slow second reading of streams, with json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gateway.exchange.answers import whole
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge
from metering.stream_meter import in_openais_words
from metering.usage import UsageSource

from .answers import Answer
from .play import Answered, Played
from .reference import Response, Verdict, response_in
from .script import End

DONE = b"data: [DONE]"
_USAGE = b',"usage":{'
"""What vLLM's running usage begins with: an event with it is taken for nothing else."""
_ID_LIST = re.compile(rb'("(?:prompt_)?token_ids":)\[[^\]]*(?:\]|\Z)')
_RESUMES = re.compile(rb'\A\S+ /(?:v1/)?detokenize |"prompt":\[\d')
"""Asked to go on with a stream: no client here has a prompt of ids."""
_REQUEST_ID = re.compile(rb"\r\nx-request-id: ([^\r]*)\r\n")

Faults = Iterator[str]


def relayed_faults(played: Played, answers: list[Answer]) -> Faults:
    """What is wrong with answers that came from nodes."""
    asked: dict[bytes, list[Answered]] = {}
    for each in played.nodes:
        found = _REQUEST_ID.search(each.request)
        assert found is not None
        asked.setdefault(found[1], []).append(each)
    closes = _closes(played)
    for answer in answers:
        request_id = answer.headers.get(b"x-request-id", b"")
        tried = asked.get(request_id)
        if answer.status != 200 or tried is None or all(each.honest for each in tried):
            continue
        close = closes.get(request_id.decode())
        if answer.headers[b"content-type"] == b"application/json":
            yield from _whole_faults(answer, tried[-1])
        else:
            resumed = [each for each in tried if _RESUMES.search(each.request)]
            if resumed:
                yield from _resumed_faults(answer, tried, resumed)
            else:
                yield from _stream_faults(answer, tried[-1], close)


def _closes(played: Played) -> dict[str, CloseCharge]:
    requests = {r.charge_id: r.request_id for r in played.rows if isinstance(r, OpenCharge)}
    return {requests[r.charge_id]: r for r in played.rows if isinstance(r, CloseCharge)}


def _read(asked: Answered) -> Response:
    said = bytes(asked.said)
    ended = asked.meant.end is End.CLOSES and len(said) == len(asked.meant.data)
    return response_in(said, closed=ended)


def _whole_faults(answer: Answer, asked: Answered) -> Faults:
    theirs = _read(asked)
    if answer.whole and (theirs.verdict is not Verdict.WHOLE or theirs.status != 200):
        yield f"a 200 of an answer that is {theirs.verdict} {theirs.status}: {answer.body!r}"
    elif not (whole(theirs.body, 0).body or b"").startswith(answer.body):
        yield f"the node said {theirs.body!r}, the client was told {answer.body!r}"


def _stream_faults(answer: Answer, asked: Answered, close: CloseCharge | None) -> Faults:
    theirs = _read(asked)
    if theirs.status != 200:
        yield f"a stream of an answer that is {theirs.verdict} {theirs.status}"
    if b"\r\r\n" in theirs.body:
        return  # what that ends depends on where it was cut
    said = _events(theirs.body)
    if any(b"\n\n" in _cut(event) + b"\n" for event in said):
        return  # usage alone on its line: what is left of the event looks like two
    told = [each.lstrip(b"\n") for each in answer.body.split(b"\n\n") if each.lstrip(b"\n")]
    done = bool(told) and told[-1] == DONE
    ours = told[-1:] if done or (told and isinstance(_json(told[-1]).get("error"), dict)) else []
    told = told[: len(told) - len(ours)]
    if answer.whole and not ours:
        yield f"a stream that ends with neither [DONE] nor an error: {told[-1:]!r}"
    expected = _until_end(said)
    if not answer.whole:
        told = told[:-1]  # it may be cut
    broke_off = False
    if b'"return_token_ids":true' in asked.request:  # we did: none of our clients here does
        if done and (close is None or close.usage_source is UsageSource.COUNTED):
            broke_off, told, expected = _up_to_finish(told, expected)
        yield from _id_faults(told)
        told, expected = [*map(_without_ids, told)], [*map(_without_ids, expected)]
    left = iter(expected)
    for mine in told:
        # An event with usage alone need not be passed on.
        node = next((each for each in left if _same(mine, each) or not _is_closing(each)), b"")
        if not _same(mine, node):
            yield f"the node said {node!r}, the client was told {mine!r}"
            return
    kept_back = [event for event in left if not _is_closing(event)]
    if done and not (broke_off and not kept_back):
        yield from _success_faults(theirs, said, kept_back)
    if close is not None and done and close.outcome is not ChargeOutcome.CLIENT_GONE:
        yield from _bill_faults(said, close)


def _resumed_faults(answer: Answer, tried: list[Answered], resumed: list[Answered]) -> Faults:
    """The text of the node that broke off is followed by that of those that went on."""
    streams = [tried[tried.index(resumed[0]) - 1], *resumed]
    said = "".join(_text(_until_end(_events(_read(each).body))) for each in streams)
    told = _text(answer.body.split(b"\n\n")[:-1])
    if not said.startswith(told):
        yield f"the nodes said {said!r}, the client was told {told!r}"


def _text(events: list[bytes]) -> str:
    texts = []
    for event in events:
        for choice in _json(event).get("choices") or []:
            texts.append(choice.get("text") or (choice.get("delta") or {}).get("content") or "")
    return "".join(texts)


def _up_to_finish(told: list[bytes], said: list[bytes]) -> tuple[bool, list[bytes], list[bytes]]:
    """Whether that of the last token is the last event told, but for a closing one that the gateway
    made; and both without what is behind it.
    """
    last = _last_token(said)
    made = last and told and _is_made_closing(told[-1], said[last - 1])
    text = told[:-1] if made else told
    if not last or not text or not _has_finish(text[-1]):
        return False, told, said
    return True, text, said[:last]


def _last_token(said: list[bytes]) -> int:
    """How many events there are up to that of the last token. An answer is whole with them, however
    it broke off then.
    """
    return next((count for count in range(len(said), 0, -1) if _has_finish(said[count - 1])), 0)


def _has_finish(event: bytes) -> bool:
    choices = _json(event).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("finish_reason") is not None


def _is_made_closing(event: bytes, last: bytes) -> bool:
    """It tells the figure of the last token, in place of what its node did not tell."""
    figure = _json(last).get("usage")
    if not _is_closing(event) or not isinstance(figure, dict):
        return False
    told = _json(event)["usage"]
    return all(told.get(key) == figure.get(key) for key in ("prompt_tokens", "completion_tokens"))


def _id_faults(told: list[bytes]) -> Faults:
    """What was asked for to resume with is the gateway's: of the answer all, of the prompt what
    comes first.
    """
    firsts = [each for each in told if b'"prompt_token_ids"' in each][:1]
    if any(_ID_LIST.search(each) for each in firsts):
        yield f"the ids of the prompt were passed on: {firsts[0]!r}"
    for each in told:
        choices = _json(each).get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("token_ids") is not None:
                yield f"ids were passed on: {each!r}"


def _without_ids(event: bytes) -> bytes:
    return _ID_LIST.sub(rb"\1null", event)


def _success_faults(theirs: Response, said: list[bytes], kept_back: list[bytes]) -> Faults:
    closing = any(_is_closing(event) for event in said)
    ended = any(event.startswith(DONE) for event in said)
    if not (ended or closing or theirs.verdict is Verdict.WHOLE):
        yield f"[DONE] after a stream that is {theirs.verdict}"
    if kept_back and not closing:
        yield f"[DONE], but not passed on: {kept_back[0]!r}"


def _bill_faults(said: list[bytes], close: CloseCharge) -> Faults:
    """The closing total is what is billed, if there is one that json can read."""
    closing = [event for event in _until_end(said) if _is_closing(event)]
    if not closing or close.usage_source is not UsageSource.NODE:
        return
    if close.usage is None or any(e.count(b'"usage"') != 1 for e in closing):
        return
    told = [_json(event)["usage"] for event in closing]
    pairs = [(u.get("prompt_tokens"), u.get("completion_tokens", 0)) for u in told]
    billed = (close.usage.prompt_tokens, close.usage.completion_tokens)
    if billed not in pairs:
        yield f"billed {billed}, the node reported {pairs}"


def _events(body: bytes) -> list[bytes]:
    """Whole events."""
    events = body.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]
    return [event for event in (event.lstrip(b"\n") for event in events) if event]


def _until_end(said: list[bytes]) -> list[bytes]:
    found = []
    for event in said:
        done = event.startswith(DONE) and _USAGE not in event
        if done or _json(event).get("error") is not None:
            break
        found.append(event)
    return found


def _json(event: bytes) -> dict:
    """What an event says; nothing if that is no JSON object."""
    found = _object(event)
    return {} if found is None else found


def _object(event: bytes) -> dict | None:
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    try:
        found = json.loads(b"\n".join(lines).decode(errors="surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _same(mine: bytes, node: bytes) -> bool:
    """The same bytes, with or without usage; or the same object, written anew."""
    if mine in (node, _cut(node)):
        return True
    if _is_closing(node):
        return mine == in_openais_words(node)
    told, said = _object(mine), _object(node)
    if told is None or said is None:
        return False
    return told == {key: value for key, value in said.items() if key != "usage"}


def _cut(event: bytes) -> bytes:
    """Without the first thing in it that looks like vLLM's usage."""
    start = event.find(_USAGE)
    if start < 0:
        return event
    depth, end = 0, event.find(b"}", start) + 1
    for brace in re.finditer(rb"[{}]", event[start:]):
        depth += 1 if brace[0] == b"{" else -1
        if not depth:
            end = start + brace.end()
            break
    return event[:start] + event[end:]


def _is_closing(event: bytes) -> bool:
    found = _json(event)
    return found.get("usage") is not None and not found.get("choices")
