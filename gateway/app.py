"""The ASGI application: the inference routes in front, FastAPI for every other path."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway import errors
from gateway.errors import ApiError
from gateway.routes.refusals import REFUSALS, refusal_of

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def fastapi_app(routers: list[APIRouter], lifespan: Lifespan) -> FastAPI:
    """Every route but inference. Whatever goes wrong is told as OpenAI's error object."""
    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    for router in routers:
        app.include_router(router)

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return _answer(error)

    async def refusal(_: Request, error: Exception) -> Response:
        return _answer(refusal_of(error))

    for kind in REFUSALS:
        app.add_exception_handler(kind, refusal)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            refused = _answer(errors.method_not_allowed(request.method, request.url.path))
            refused.headers.update(error.headers or {})  # which methods are
            return refused
        return _answer(errors.unknown_route(request.method, request.url.path))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        return _answer(errors.bad_request(f"{first['msg']}.", param=name, code="invalid_value"))

    @app.exception_handler(Exception)
    async def own_fault(_: Request, __: Exception) -> Response:
        return _answer(ApiError(500, "The gateway failed on this request.", type="server_error"))

    return app


def _answer(error: ApiError) -> Response:
    response = Response(error.body(), error.status, media_type="application/json")
    for name, value in error.headers():
        response.headers[name.decode()] = value.decode()
    return response
