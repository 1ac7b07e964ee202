"""`/v1/batches`: OpenAI's Batch API."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends
from msgspec import Meta

from gateway import errors
from gateway.batches.batch import WINDOW_NS, Batch, Status
from gateway.batches.batch_store import BatchStore, StatusError, TooManyBatchesError
from gateway.batches.views import batch_view
from gateway.files.file_store import PURPOSE_INPUT, FileStore
from gateway.routes.auth import Authenticate
from gateway.routes.body import json_body, query_of
from gateway.routes.files import FILE_ID, expiry_s, unknown_file
from metering.keys import ApiKey

METADATA_MAX = 16
BATCH_ID = re.compile(r"batch_[0-9a-f]{24}")


class ExpiresAfter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    anchor: Literal["created_at"]
    seconds: int


class NewBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: (
        Annotated[
            dict[
                Annotated[str, Meta(max_length=64)],
                Annotated[str, Meta(max_length=512)],
            ],
            Meta(max_length=METADATA_MAX),
        ]
        | None
    ) = None
    output_expires_after: ExpiresAfter | None = None


class BatchesQuery(msgspec.Struct, frozen=True, kw_only=True):
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


def routes(
    authenticate: Authenticate, store: BatchStore, files: FileStore, created: Callable[[], None]
) -> APIRouter:
    """`created` is told of each new one, and of each that was cancelled."""
    api = APIRouter(prefix="/v1/batches", tags=["batches"])

    async def find(caller: ApiKey, batch_id: str, param: str = "batch_id") -> Batch:
        batch = None
        if BATCH_ID.fullmatch(batch_id):
            batch = await asyncio.to_thread(store.get, caller.account, batch_id)
        if batch is None:
            raise _unknown_batch(batch_id, param)
        return batch

    @api.post("")
    async def create(
        caller: Annotated[ApiKey, Depends(authenticate)],
        asked: Annotated[NewBatch, Depends(json_body(NewBatch))],
    ) -> dict[str, Any]:
        batch = await _create(caller, asked, store, files)
        created()
        return batch_view(batch)

    @api.get("")
    async def list_batches(
        caller: Annotated[ApiKey, Depends(authenticate)],
        query: Annotated[BatchesQuery, Depends(query_of(BatchesQuery))],
    ) -> dict[str, Any]:
        after = None if query.after is None else await find(caller, query.after, "after")
        found = await asyncio.to_thread(
            lambda: store.page(caller.account, after=after, limit=query.limit + 1)
        )
        shown = found[: query.limit]
        ends = {"first_id": shown[0].batch_id, "last_id": shown[-1].batch_id} if shown else {}
        return {
            "object": "list",
            "data": [batch_view(batch) for batch in shown],
            **ends,
            "has_more": len(found) > len(shown),
        }

    @api.get("/{batch_id}")
    async def retrieve(
        batch_id: str, caller: Annotated[ApiKey, Depends(authenticate)]
    ) -> dict[str, Any]:
        return batch_view(await find(caller, batch_id))

    @api.post("/{batch_id}/cancel")
    async def cancel(
        batch_id: str, caller: Annotated[ApiKey, Depends(authenticate)]
    ) -> dict[str, Any]:
        batch = await find(caller, batch_id)
        try:
            batch = await asyncio.to_thread(store.cancel, batch.batch_id, time.time_ns())
        except StatusError as error:
            raise errors.conflict(f"{error}.") from None
        created()
        return batch_view(batch)

    return api


async def _create(caller: ApiKey, asked: NewBatch, store: BatchStore, files: FileStore) -> Batch:
    """Raises ApiError (400, 403, 404, 429) and LedgerError."""
    if caller.suspended:
        raise errors.account_suspended(caller.account)
    batch, file = _new(caller, asked), None
    if FILE_ID.fullmatch(asked.input_file_id):
        file = await asyncio.to_thread(files.get, caller.account, asked.input_file_id)
    if file is None:
        raise unknown_file(asked.input_file_id, "input_file_id")
    if file.purpose != PURPOSE_INPUT:
        raise errors.bad_request(
            f"The input of a batch is a file with the purpose '{PURPOSE_INPUT}'; this one has "
            f"'{file.purpose}'.",
            param="input_file_id",
            code="invalid_value",
        )
    try:
        await asyncio.to_thread(store.create, batch)
    except TooManyBatchesError as error:
        raise errors.overloaded(f"{error}.", retry_after_s=60) from None
    return batch


def _new(caller: ApiKey, asked: NewBatch) -> Batch:
    """Raises ApiError (400)."""
    now_ns, after, expires_s = time.time_ns(), asked.output_expires_after, None
    if after is not None:
        expires_s = expiry_s(after.seconds, "output_expires_after.seconds")
    metadata = None if asked.metadata is None else msgspec.json.encode(asked.metadata).decode()
    return Batch(
        batch_id="batch_" + secrets.token_hex(12),
        account=caller.account,
        key_id=caller.key_id,
        endpoint=asked.endpoint,
        input_file_id=asked.input_file_id,
        metadata=metadata,
        output_expires_s=expires_s,
        status=Status.VALIDATING,
        created_ns=now_ns,
        expires_ns=now_ns + WINDOW_NS,
    )


def _unknown_batch(batch_id: str, param: str) -> errors.ApiError:
    return errors.not_found(f"There is no batch '{batch_id[:100]}'.", param=param)
