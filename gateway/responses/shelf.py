"""Kept responses, for coroutines: found by their account, put away, and what they say."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec

from gateway import errors
from gateway.admission.catalogue import Model
from gateway.errors import ApiError
from gateway.responses.answer import UNDER_WAY
from gateway.responses.config import ResponsesConfig
from gateway.responses.items import ItemIds, Json, judged, references
from gateway.responses.making import Making
from gateway.responses.schema import ResponsesRequest
from gateway.responses.truncation import bytes_count, fitting
from metering.ledger import LedgerError
from metering.response_store import ResponseStore
from metering.stored_response import StoredResponse

log = logging.getLogger("tollgate")

_items = msgspec.json.Decoder(list[dict[str, Any]]).decode
_response = msgspec.json.Decoder(dict[str, Any]).decode


TOO_LONG = "context_length_exceeded"


class Shelf:
    """Methods raise ApiError (404), and LedgerError when the database cannot answer."""

    def __init__(
        self, store: ResponseStore, config: ResponsesConfig, conversation_bytes_max: int
    ) -> None:
        self.store = store
        self._config = config
        self._conversation_bytes_max = conversation_bytes_max

    async def new(
        self, asked: ResponsesRequest, account: str, ids: ItemIds, model: Model | None
    ) -> Making:
        """What is asked for, with all that came before. Raises ApiError (400)."""
        kept = asked.kept and self._config.store
        if asked.background and not kept:
            raise errors.bad_request(
                "'background' needs a response that is kept, and this one is not: leave out "
                "'store', if this gateway keeps responses at all.",
                param="background",
                code="unsupported_parameter",
            )
        before: list[Json] = []
        if asked.previous_response_id is not None:
            shorten = asked.truncation == "auto"
            before = await self._before(account, asked.previous_response_id, shorten)
        given = asked.input or []
        referred: dict[str, Json] = {}
        if not isinstance(given, str):
            referred = await self._referred(account, references(given))
        own = judged(given, ids, referred)
        items = before + own
        if asked.truncation == "auto" and model is not None:
            items = await asyncio.to_thread(
                fitting,
                items,
                asked,
                model.context_tokens_max,
                model.counter.count if model.counter is not None else bytes_count,
            )
        return Making(
            asked,
            ids,
            account=account,
            items=items,
            own=own,
            created_ns=time.time_ns(),
            keep_ns=self._config.keep_ns if kept else None,
        )

    async def get(self, account: str, response_id: str) -> StoredResponse:
        found = await asyncio.to_thread(self.store.get, account, response_id)
        if found is None:
            raise _unknown(response_id)
        return found

    async def delete(self, account: str, response_id: str) -> None:
        if not await asyncio.to_thread(self.store.delete, account, response_id):
            raise _unknown(response_id)

    async def put(self, making: Making) -> None:
        """At its end. If the database is away, the answer is not lost for that: it stands, and says
        that it is not kept.
        """
        if not making.kept:
            return
        try:
            await asyncio.to_thread(self.store.add, making.record())
        except LedgerError as error:
            log.warning("a response is not kept: %s", error)
            making.stream.response = making.stream.response | {"store": False}

    async def _before(self, account: str, response_id: str, shorten: bool) -> list[Json]:
        """The items of earlier turns; `shorten`: as many as are carried on, if there are more."""
        turns, earlier = await asyncio.to_thread(
            self.store.chain, account, response_id, self._conversation_bytes_max
        )
        if not turns:
            raise errors.bad_request(
                f"Previous response with id '{response_id[:100]}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        if _response(turns[-1][1])["status"] in UNDER_WAY:
            raise errors.bad_request(
                f"Previous response with id '{response_id}' is still being made: wait until it "
                "ended.",
                param="previous_response_id",
                code="previous_response_in_progress",
            )
        if earlier is not None:
            broken = await self._broken(account, earlier)
            if not shorten or broken.code != TOO_LONG:
                raise broken
        return [
            item
            for asked, answered in turns
            for item in (*_items(asked), *_response(answered)["output"])
        ]

    async def _broken(self, account: str, earlier: str) -> ApiError:
        """Why a conversation does not go back to its beginning."""
        if await asyncio.to_thread(self.store.get, account, earlier) is None:
            return errors.bad_request(
                f"The conversation cannot be carried on: its response with id '{earlier}' was "
                "deleted, or has expired.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return errors.bad_request(
            f"The conversation is longer than {self._conversation_bytes_max} bytes, the most that "
            "is carried on here: begin a new one, with a summary in 'input'.",
            param="previous_response_id",
            code=TOO_LONG,
        )

    async def _referred(self, account: str, owners: dict[str, str]) -> dict[str, Json]:
        """The items of these ids, as far as their responses are kept."""
        found: dict[str, Json] = {}
        for response_id in set(owners.values()):
            kept = await asyncio.to_thread(self.store.get, account, response_id)
            if kept is not None:
                found |= {
                    item["id"]: item for item in (*asked_of(kept), *answer_of(kept)["output"])
                }
        return {item_id: found[item_id] for item_id in owners if item_id in found}


def asked_of(kept: StoredResponse) -> list[Json]:
    return _items(kept.input)


def answer_of(kept: StoredResponse) -> Json:
    return _response(kept.response)


def _unknown(response_id: str) -> ApiError:
    return errors.not_found(f"Response with id '{response_id[:100]}' not found.")
