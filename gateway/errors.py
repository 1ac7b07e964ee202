"""Every answer of the gateway that is not a success, as OpenAI's error object.

    ApiError                   status  type                    code
    |- bad_request             400     invalid_request_error   (given)
    |- bad_http                400     invalid_request_error   invalid_http
    |- invalid_json            400     invalid_request_error   invalid_json
    |- context_too_long        400     invalid_request_error   context_length_exceeded
    |- missing_key, bad_key    401     invalid_request_error   invalid_api_key
    |- key_expired             401     invalid_request_error   api_key_expired
    |- admin_key_...           401     invalid_request_error   invalid_admin_key
    |- no_credit               402     insufficient_quota      insufficient_quota
    |- not_an_admin            403     permission_error        (given)
    |- not_permitted           403     permission_error        (given)
    |- node_refused            (given) invalid_request_error   (given)
    |- model_not_allowed       403     invalid_request_error   model_not_found
    |- unknown_model           404     invalid_request_error   model_not_found
    |- unknown_route           404     invalid_request_error   unknown_url
    |- not_found               404     invalid_request_error   not_found
    |- conflict                409     invalid_request_error   conflict
    |- method_not_allowed      405     invalid_request_error   method_not_allowed
    |- too_slow                408     invalid_request_error   request_timeout
    |- body_too_large          413     invalid_request_error   request_too_large
    |- files_full              413     invalid_request_error   files_full
    |- head_too_large          431     invalid_request_error   headers_too_large
    |- overloaded              429     rate_limit_exceeded     (given), with Retry-After
    |- rate_limited            429     requests or tokens      rate_limit_exceeded, with Retry-After
    |- quota_used              429     tokens                  rate_limit_exceeded, with Retry-After
    |- cap_reached             429     insufficient_quota      insufficient_quota; for life: 402
    `- node_failed             500     server_error            upstream_error

The constructors below are the whole list: a new kind of failure gets a constructor here, not a
status in the code that notices it. Overload is always 429, never 503: an aggregator counts 5xx
against its provider (https://openrouter.ai/docs/use-cases/for-providers).
"""

from __future__ import annotations

import msgspec

from metering.cycle import utc_text
from metering.limits import LimitKind, Shortage
from metering.money import format_usd

_encoder = msgspec.json.Encoder()


class ApiError(Exception):
    """A refusal or failure with the HTTP status and OpenAI error fields the client will see."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        retry_is_useless: bool = False,
        more_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.retry_is_useless = retry_is_useless
        self.more_headers = more_headers
        self.model: str | None = None
        """The model on sale that was asked for, once that is known: for the scorecard."""
        self.request_id: str | None = None
        """Of the request that is refused so: for the log."""

    def body(self) -> bytes:
        """The JSON error object; all four keys are always there, as OpenAI's schema requires."""
        return _encoder.encode(
            {
                "error": {
                    "message": self.message,
                    "type": self.type,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers beyond content type and length: what the official SDKs heed when they retry."""
        headers: list[tuple[bytes, bytes]] = []
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.retry_is_useless:
            headers.append((b"x-should-retry", b"false"))
        return [*headers, *self.more_headers]


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


def bad_http(reason: str) -> ApiError:
    return ApiError(400, f"The request is not valid HTTP: {reason}.", code="invalid_http")


def invalid_json(reason: str) -> ApiError:
    return ApiError(400, f"The request body is not valid JSON: {reason}.", code="invalid_json")


def context_too_long(context_tokens_max: int, found: str, param: str) -> ApiError:
    message = (
        f"This model's maximum context length is {context_tokens_max} tokens. However, {found}. "
        f"Please reduce '{param}'."
    )
    return ApiError(400, message, param=param, code="context_length_exceeded")


def missing_key() -> ApiError:
    message = (
        "You didn't provide an API key. Send it in the header "
        "'Authorization: Bearer YOUR_KEY'; the operator makes keys with 'tollgate key create'."
    )
    return ApiError(401, message, code="invalid_api_key")


def bad_key() -> ApiError:
    message = "Incorrect API key provided. It is unknown here, or it was revoked."
    return ApiError(401, message, code="invalid_api_key")


def key_expired(key_id: str, expires_ns: int) -> ApiError:
    message = (
        f"The API key {key_id} expired at {utc_text(expires_ns)}. Make another one, or have "
        "its operator extend it."
    )
    return ApiError(401, message, code="api_key_expired")


def admin_key_missing() -> ApiError:
    message = (
        "This needs the admin key, in the header 'Authorization: Bearer ADMIN_KEY'. It is in the "
        "file admin_key of the gateway's home, or where [admin] of its configuration says."
    )
    return ApiError(401, message, code="invalid_admin_key")


def admin_key_wrong() -> ApiError:
    return ApiError(401, "Incorrect admin key provided.", code="invalid_admin_key")


def not_an_admin(*, admin_is_off: bool) -> ApiError:
    if admin_is_off:
        return not_permitted(
            "This gateway has no admin key, so nobody can use its admin API: name one in its "
            "configuration, [admin] key_file or key_env.",
            code="admin_api_off",
        )
    return not_permitted(
        "This is a customer's API key; the admin API takes the admin key only.",
        code="admin_key_required",
    )


def not_permitted(message: str, *, code: str) -> ApiError:
    return ApiError(403, message, type="permission_error", code=code)


def account_suspended(account: str) -> ApiError:
    message = f"Account '{account}' is suspended. Please contact the operator of this gateway."
    return not_permitted(message, code="account_suspended")


def not_found(message: str, *, param: str | None = None) -> ApiError:
    return ApiError(404, message, param=param, code="not_found")


def unknown_key(key_id: str) -> ApiError:
    return not_found(f"There is no key '{key_id[:100]}'.")


def conflict(message: str) -> ApiError:
    return ApiError(409, message, code="conflict", retry_is_useless=True)


def no_credit(message: str) -> ApiError:
    kind = "insufficient_quota"
    return ApiError(402, message, type=kind, code=kind, retry_is_useless=True)


def unknown_model(model: str) -> ApiError:
    message = (
        f"The model '{model[:200]}' does not exist or you do not have access to it. "
        "GET /v1/models lists the models served here."
    )
    return ApiError(404, message, param="model", code="model_not_found")


def model_not_allowed(model: str, allowed: tuple[str, ...]) -> ApiError:
    """403, which an aggregator does not count against its provider as it counts a 404."""
    message = f"This API key does not have access to the model '{model}', only to: " + ", ".join(
        allowed
    )
    return ApiError(403, message, param="model", code="model_not_found")


def unsupported_endpoint(model: str, path: str) -> ApiError:
    message = f"The model '{model}' does not serve {path}. GET /v1/models/{model} says what it can."
    return bad_request(message, param="model", code="unsupported_endpoint")


def unknown_route(method: str, path: str) -> ApiError:
    message = f"Unknown request URL: {method} {path[:200]}."
    if path.startswith("/v1/private"):
        message += (
            " Confidential inference is not served here: no node is attested. Requests to "
            "/v1/chat/completions are handled as GET /openrouter/data-policy says."
        )
    return ApiError(404, message, code="unknown_url")


def method_not_allowed(method: str, path: str) -> ApiError:
    message = f"Not allowed: {method} on {path[:200]}."
    return ApiError(405, message, code="method_not_allowed")


def body_too_large(body_bytes_max: int) -> ApiError:
    message = f"The request body is larger than {body_bytes_max} bytes, the most accepted here."
    return ApiError(413, message, code="request_too_large")


def files_full(message: str) -> ApiError:
    return ApiError(413, message, param="file", code="files_full", retry_is_useless=True)


def head_too_large(head_bytes_max: int) -> ApiError:
    message = f"The headers are larger than {head_bytes_max} bytes, the most accepted here."
    return ApiError(431, message, code="headers_too_large")


def too_slow(part: str) -> ApiError:
    message = f"The {part} of the request came too slowly, so it was given up. Please retry."
    return ApiError(408, message, code="request_timeout")


def overloaded(message: str, *, retry_after_s: int, code: str = "rate_limit_exceeded") -> ApiError:
    return ApiError(429, message, type=code, code=code, retry_after_s=retry_after_s)


_LIMIT_NAMES = {
    LimitKind.REQUESTS: "requests per min (RPM)",
    LimitKind.TOKENS: "tokens per min (TPM)",
    LimitKind.CONCURRENCY: "concurrent requests",
}


def rate_limited(shortage: Shortage, model: str, key_id: str) -> ApiError:
    """A limit of the key, in OpenAI's words, types and headers."""
    name = f"for {model} with key {key_id} on {_LIMIT_NAMES[shortage.kind]}"
    type = "tokens" if shortage.kind is LimitKind.TOKENS else "requests"
    if shortage.wait_ns is None:
        return ApiError(
            429,
            f"Request too large {name}: Limit {shortage.limit}, Requested {shortage.asked} (the "
            "most that the prompt and 'max_tokens' can come to). Lower 'max_tokens' or shorten "
            "the prompt; the request can never run as it is.",
            type=type,
            code="rate_limit_exceeded",
            retry_is_useless=True,
            more_headers=_rate_limit_headers(shortage, type),
        )
    wait_ms = max(1, -(-shortage.wait_ns // 1_000_000))
    return ApiError(
        429,
        f"Rate limit reached {name}: Limit {shortage.limit}, "
        f"Used {shortage.limit - shortage.free}, Requested {shortage.asked}. "
        f"Please try again in {duration(wait_ms)}.",
        type=type,
        code="rate_limit_exceeded",
        retry_after_s=-(-wait_ms // 1000),
        more_headers=(
            (b"retry-after-ms", str(wait_ms).encode()),
            *_rate_limit_headers(shortage, type),
        ),
    )


def cap_reached(shortage: Shortage, now_ns: int) -> ApiError:
    """The spend cap of a key. One that begins anew is a limit, as a minute's is, but too long to
    wait for; one for life is like credit that is used up.
    """
    kind = "insufficient_quota"
    message = (
        f"The spend cap of key {shortage.owner} has {format_usd(max(0, shortage.free))} of "
        f"{format_usd(shortage.limit)} USD left; this request may cost up to "
        f"{format_usd(shortage.asked)} USD, which is reserved before it runs and refunded down to "
        "what it cost. "
    )
    if shortage.wait_ns is None:
        message += "The cap is for the key's life: raise it, or use another key."
        return ApiError(402, message, type=kind, code=kind, retry_is_useless=True)
    resets = utc_text(now_ns + shortage.wait_ns)
    return ApiError(
        429,
        f"{message}It begins anew at {resets}.",
        type=kind,
        code=kind,
        retry_after_s=-(-shortage.wait_ns // 1_000_000_000),
        retry_is_useless=True,
    )


def quota_used(shortage: Shortage, model: str, now_ns: int) -> ApiError:
    """An account's tokens of a day, in OpenAI's words for such a limit."""
    name = f"for {model} in account {shortage.owner} on tokens per day (TPD)"
    if shortage.asked > shortage.limit:
        return ApiError(
            429,
            f"Request too large {name}: Limit {shortage.limit}, Requested {shortage.asked} (the "
            "most that the prompt and 'max_tokens' can come to). Lower 'max_tokens' or shorten "
            "the prompt; the request can never run as it is.",
            type="tokens",
            code="rate_limit_exceeded",
            retry_is_useless=True,
        )
    assert shortage.wait_ns is not None, "a day ends"
    return ApiError(
        429,
        f"Rate limit reached {name}: Limit {shortage.limit}, Used "
        f"{shortage.limit - shortage.free}, Requested {shortage.asked}, which is reserved before "
        f"it runs. The day begins anew at {utc_text(now_ns + shortage.wait_ns)}; GET /v1/usage "
        "tells what is left.",
        type="tokens",
        code="rate_limit_exceeded",
        retry_after_s=-(-shortage.wait_ns // 1_000_000_000),
        retry_is_useless=True,
    )


def _rate_limit_headers(shortage: Shortage, type: str) -> tuple[tuple[bytes, bytes], ...]:
    if shortage.kind is LimitKind.CONCURRENCY:
        return ()
    values = {
        "limit": str(shortage.limit),
        "remaining": str(max(0, shortage.free)),
        "reset": duration(-(-shortage.reset_ns // 1_000_000)),
    }
    return tuple(
        (f"x-ratelimit-{name}-{type}".encode(), value.encode()) for name, value in values.items()
    )


def duration(milliseconds: int) -> str:
    """As Go writes it and OpenAI's headers do: 6m0s, 1.5s, 20ms."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    seconds = f"{rest_ms / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds


def node_failed(message: str) -> ApiError:
    return ApiError(500, message, type="server_error", code="upstream_error")


def no_capacity(model: str, retry_after_ns: int) -> ApiError:
    seconds = max(1, -(-retry_after_ns // 1_000_000_000))
    return overloaded(
        f"No node can take a request for '{model}' now. Please retry after {seconds} s.",
        retry_after_s=seconds,
        code="no_capacity",
    )


def model_drained(model: str) -> ApiError:
    message = f"The operator is taking '{model}' out of service: it takes no new requests."
    return overloaded(message, retry_after_s=30, code="model_drained")


def limits_unknown() -> ApiError:
    """The ledger is away, or Redis is and what was leased of a limit or a balance is used up."""
    return overloaded(
        "The gateway cannot check limits and balances at the moment. Please retry.",
        retry_after_s=1,
        code="limits_unknown",
    )


def not_recording() -> ApiError:
    """The spool is full or its disk failed: what cannot be charged is not served."""
    return overloaded(
        "The gateway cannot record charges at the moment, so it serves nothing. Please retry.",
        retry_after_s=30,
        code="not_recording",
    )


def node_refused(status: int, message: str, *, code: str) -> ApiError:
    """To a node, or to whoever says to be one."""
    return ApiError(status, f"Refused: {message}.", code=code)
