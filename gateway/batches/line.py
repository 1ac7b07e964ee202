"""One line of an input file: judged, and its answer as a line of an output file. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from gateway.openai.explain import explain

BATCH_EXPIRED = "batch_expired"
BATCH_CANCELLED = "batch_cancelled"
_UNRUN = {
    BATCH_EXPIRED: "This request could not be executed before the completion window expired.",
    BATCH_CANCELLED: "This request was not executed, because its batch was cancelled.",
}

CUSTOM_ID_CHARS_MAX = 512

_encode = msgspec.json.encode


class LineError(ValueError):
    """A line that is no request: `code` and `param` as OpenAI's batch errors have them."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Request(msgspec.Struct, frozen=True, kw_only=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch must know of it; admission judges the rest when the line runs."""

    model: str
    stream: bool | None = None


_request = msgspec.json.Decoder(Request)
_body = msgspec.json.Decoder(_Body)


def read_request(raw: bytes) -> Request:
    """Raises LineError."""
    try:
        raw.decode()  # msgspec does not look into texts that it skips: the body's are read later
        return _request.decode(raw)
    except msgspec.ValidationError as error:
        wrong = explain(str(error), Request)
        raise LineError("invalid_request_line", wrong.message, wrong.param) from None
    except RecursionError:
        raise LineError("invalid_json_line", "This line is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LineError("invalid_json_line", f"This line is not valid JSON: {error}.") from None


def judge(raw: bytes, endpoint: str) -> tuple[Request, str]:
    """The request and the model that it is for. Raises LineError."""
    request = read_request(raw)
    if not 0 < len(request.custom_id) <= CUSTOM_ID_CHARS_MAX:
        raise LineError(
            "invalid_custom_id",
            f"'custom_id' must be 1 to {CUSTOM_ID_CHARS_MAX} characters long.",
            "custom_id",
        )
    if request.method != "POST":
        raise LineError("invalid_method", f"'method' must be 'POST', not '{request.method[:20]}'.")
    if request.url != endpoint:
        raise LineError(
            "invalid_url",
            f"'url' is '{request.url[:100]}', but the batch is for the endpoint '{endpoint}'.",
            "url",
        )
    try:
        body = _body.decode(request.body)
    except msgspec.ValidationError as error:
        wrong = explain(str(error), _Body, "body")
        raise LineError("invalid_request_body", wrong.message, wrong.param) from None
    if body.stream:
        raise LineError(
            "streaming_unsupported", "Requests of a batch are not streamed: leave 'stream' out."
        )
    return request, body.model


def request_id(batch_id: str, number: int) -> str:
    """The same whenever the line runs: what `/v1/usage` and the ledger know it by."""
    return "req_" + _digest(batch_id, number)


def answered(batch_id: str, number: int, custom_id: str, status: int, body: bytes) -> bytes:
    """A line of an output file, or of an error file if the status is not 200."""
    if b"\n" in body:
        body = msgspec.json.format(body, indent=-1)
    response = {
        "status_code": status,
        "request_id": request_id(batch_id, number),
        "body": msgspec.Raw(body),
    }
    return _line(batch_id, number, custom_id, response, None)


def unrun(batch_id: str, number: int, custom_id: str, code: str) -> bytes:
    """Of a line that its batch did not come to."""
    return _line(batch_id, number, custom_id, None, {"code": code, "message": _UNRUN[code]})


def _line(
    batch_id: str,
    number: int,
    custom_id: str,
    response: dict[str, object] | None,
    error: dict[str, str] | None,
) -> bytes:
    line = {
        "id": "batch_req_" + _digest(batch_id, number),
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return _encode(line) + b"\n"


def _digest(batch_id: str, number: int) -> str:
    return hashlib.sha256(f"{batch_id}:{number}".encode()).hexdigest()[:24]
