"""`/v1/files`: OpenAI's Files API, for the input and output of batches."""

import asyncio
import logging
import re
import secrets
import time
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from msgspec import Meta
from starlette.requests import ClientDisconnect

from gateway import errors
from gateway.batches.output import EXPIRES_S
from gateway.files.config import FilesConfig
from gateway.files.file_store import (
    PURPOSE_INPUT,
    FileInUseError,
    FilesFullError,
    FileStore,
    StoredFile,
)
from gateway.files.folder import FileFolder, parts
from gateway.files.upload import Upload
from gateway.routes.auth import Authenticate
from gateway.routes.body import query_of
from metering.keys import ApiKey

log = logging.getLogger("tollgate")

EXPIRES_S_MIN = 3600
PART_BYTES = 256 * 1024
FILE_ID = re.compile(r"file-[0-9a-f]{24}")


class FilesQuery(msgspec.Struct, frozen=True, kw_only=True):
    purpose: str | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


def routes(
    authenticate: Authenticate, config: FilesConfig, store: FileStore, folder: FileFolder
) -> APIRouter:
    api = APIRouter(prefix="/v1/files", tags=["files"])

    async def find(caller: ApiKey, file_id: str, param: str = "file_id") -> StoredFile:
        file = None
        if FILE_ID.fullmatch(file_id):
            file = await asyncio.to_thread(store.get, caller.account, file_id)
        if file is None:
            raise unknown_file(file_id, param)
        return file

    @api.post("")
    async def upload(
        request: Request, caller: Annotated[ApiKey, Depends(authenticate)]
    ) -> dict[str, Any]:
        return file_view(await _take_in(request, caller.account, config, store, folder))

    @api.get("")
    async def list_files(
        caller: Annotated[ApiKey, Depends(authenticate)],
        query: Annotated[FilesQuery, Depends(query_of(FilesQuery))],
    ) -> dict[str, Any]:
        after = None if query.after is None else await find(caller, query.after, "after")
        return await _page(store, caller.account, query, after)

    @api.get("/{file_id}")
    async def retrieve(
        file_id: str, caller: Annotated[ApiKey, Depends(authenticate)]
    ) -> dict[str, Any]:
        return file_view(await find(caller, file_id))

    @api.get("/{file_id}/content")
    async def content(
        file_id: str, caller: Annotated[ApiKey, Depends(authenticate)]
    ) -> StreamingResponse:
        file = await find(caller, file_id)
        try:
            opened = await asyncio.to_thread(folder.open, file_id)
        except FileNotFoundError:
            log.error("file %s is in the database and not in the files folder", file_id)
            raise errors.not_found(f"The content of '{file_id}' is lost.") from None
        return StreamingResponse(
            parts(opened, PART_BYTES),
            media_type="application/octet-stream",
            headers={"content-length": str(file.bytes)},
        )

    @api.delete("/{file_id}")
    async def delete(
        file_id: str, caller: Annotated[ApiKey, Depends(authenticate)]
    ) -> dict[str, Any]:
        file = await find(caller, file_id)
        try:
            await asyncio.to_thread(store.delete, caller.account, file.file_id)
        except FileInUseError as error:
            raise errors.conflict(f"{error}.") from None
        await asyncio.to_thread(folder.remove, file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    return api


async def _take_in(
    request: Request, account: str, config: FilesConfig, store: FileStore, folder: FileFolder
) -> StoredFile:
    """Raises ApiError (400, 413), LedgerError and OSError; then nothing is left of it."""
    form = Upload(request.headers.get("content-type", ""), folder, config.file_bytes_max)
    try:
        await form.read(request.stream())
        file = _named(form, account)
        await form.keep(file.file_id)
        try:
            await asyncio.to_thread(store.add, file, config.account_bytes_max)
        except BaseException:
            await asyncio.to_thread(folder.remove, file.file_id)
            raise
    except ClientDisconnect:
        raise errors.bad_http("the client left before its upload was whole") from None
    except FilesFullError as error:
        raise errors.files_full(f"{error}.") from None
    finally:
        await form.discard()
    return file


async def _page(
    store: FileStore, account: str, query: FilesQuery, after: StoredFile | None
) -> dict[str, Any]:
    found = await asyncio.to_thread(
        lambda: store.page(
            account,
            purpose=query.purpose,
            after=after,
            newest_first=query.order == "desc",
            limit=query.limit + 1,
        )
    )
    shown = found[: query.limit]
    return {
        "object": "list",
        "data": [file_view(file) for file in shown],
        "first_id": shown[0].file_id if shown else "",
        "last_id": shown[-1].file_id if shown else "",
        "has_more": len(found) > len(shown),
    }


def unknown_file(file_id: str, param: str = "file_id") -> errors.ApiError:
    return errors.not_found(f"There is no file '{file_id[:100]}'.", param=param)


def file_view(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.file_id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_ns // 10**9,
        "expires_at": file.expires_ns // 10**9,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def expiry_s(seconds: int, param: str) -> int:
    """Raises ApiError (400)."""
    if not EXPIRES_S_MIN <= seconds <= EXPIRES_S:
        raise errors.bad_request(
            f"Files expire {EXPIRES_S_MIN} to {EXPIRES_S} seconds after they were made, not "
            f"{seconds}.",
            param=param,
            code="invalid_value",
        )
    return seconds


def _named(form: Upload, account: str) -> StoredFile:
    """Raises ApiError (400)."""
    fields = dict(form.fields)
    purpose = fields.pop("purpose", None)
    if purpose is None:
        raise errors.bad_request(
            "Missing required parameter: 'purpose'.",
            param="purpose",
            code="missing_required_parameter",
        )
    if purpose != PURPOSE_INPUT:
        raise errors.bad_request(
            f"Files here are for batches: 'purpose' must be '{PURPOSE_INPUT}', not "
            f"'{purpose[:50]}'.",
            param="purpose",
            code="invalid_value",
        )
    seconds = _expires_after(fields)
    if fields:
        name = next(iter(fields))[:50]
        raise errors.bad_request(
            f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
        )
    assert form.filename is not None
    now_ns = time.time_ns()
    return StoredFile(
        file_id="file-" + secrets.token_hex(12),
        account=account,
        purpose=purpose,
        filename=form.filename,
        bytes=form.size_bytes,
        created_ns=now_ns,
        expires_ns=now_ns + seconds * 10**9,
    )


def _expires_after(fields: dict[str, str]) -> int:
    anchor = fields.pop("expires_after[anchor]", None)
    seconds = fields.pop("expires_after[seconds]", None)
    if anchor is None and seconds is None:
        return EXPIRES_S
    if anchor != "created_at" or seconds is None or not seconds.isascii() or not seconds.isdigit():
        raise errors.bad_request(
            "'expires_after' takes the anchor 'created_at' and a number of seconds.",
            param="expires_after",
            code="invalid_value",
        )
    return expiry_s(int(seconds[:18]), "expires_after[seconds]")
