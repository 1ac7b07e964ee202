"""`/tokenize` and `/detokenize`, as vLLM has them, but for a key; free of charge."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta, Struct

from gateway import errors
from gateway.admission.admission import Admission
from gateway.drivers.aside import Aside
from gateway.openai.request import read_as
from gateway.openai.schema import Message, Tool
from gateway.routes.auth import Authenticate

_Token = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Tokenize(Struct, forbid_unknown_fields=True, omit_defaults=True):
    model: str
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class _Detokenize(Struct, forbid_unknown_fields=True):
    model: str
    tokens: list[_Token]


_tokenize = msgspec.json.Decoder(_Tokenize)
_detokenize = msgspec.json.Decoder(_Detokenize)
_fields = msgspec.json.Decoder(dict[str, Any])


def routes(admission: Admission, aside: Aside, authenticate: Authenticate) -> APIRouter:
    router = APIRouter(dependencies=[Depends(authenticate)], tags=["tokens"])

    @router.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        """Of a `prompt`, or of `messages` by the model's chat template."""
        body = await request.body()
        asked = read_as(_tokenize, body)
        if (asked.prompt is None) == (asked.messages is None):
            message = "Give either 'prompt' or 'messages', and not both."
            raise errors.bad_request(message, param="prompt")
        return await _told("/tokenize", body)

    @router.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        body = await request.body()
        read_as(_detokenize, body)
        return await _told("/detokenize", body)

    async def _told(path: str, body: bytes) -> Response:
        request_id = admission.new_request_id()
        told = await aside.ask(path, _fields.decode(body), request_id)
        headers = {"x-request-id": request_id}
        return Response(msgspec.json.encode(told), 200, headers, "application/json")

    return router
