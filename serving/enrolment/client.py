"""Speaks to a gateway in a node's name."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.enrolment.counter import Counter
from serving.enrolment.messages import (
    ENROL,
    LEASE,
    ROTATE,
    Enrol,
    Enrolled,
    Lease,
    Leased,
    Rotate,
)
from serving.enrolment.signature import new_key_proof, public_name, sign

TIMEOUT_S = 10.0

A = TypeVar("A", Enrolled, Leased)


class RefusedError(Exception):
    """The gateway understood and said no; `code` is its word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AwayError(Exception):
    """No answer came, or none of a gateway's."""


class GatewayClient:
    """`url` is the gateway's (`https://host`), `authority` the name it calls itself. Blocks.

    Methods raise RefusedError and AwayError.
    """

    def __init__(
        self, url: str, authority: str, key: Ed25519PrivateKey, counter: Counter, ca: Path | None
    ) -> None:
        self._url = url.rstrip("/")
        self._authority = authority or urlsplit(url).netloc.rpartition("@")[2].lower()
        self._key = key
        self._counter = counter
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca is not None:
            tls = ssl.create_default_context(cafile=str(ca))
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)

    def enrol(self, said: Enrol) -> Enrolled:
        return self._post(ENROL, msgspec.json.encode(said), Enrolled)

    def lease(self, said: Lease) -> Leased:
        return self._post(LEASE, msgspec.json.encode(said), Leased)

    def rotate(self, new: Ed25519PrivateKey) -> Enrolled:
        """From its answer on only the new key is good."""
        proof = new_key_proof(new, public_name(self._key.public_key()))
        said = Rotate(public_key=public_name(new.public_key()), proof=proof)
        return self._post(ROTATE, msgspec.json.encode(said), Enrolled)

    def enrolled(self, key: Ed25519PrivateKey) -> Enrolled:
        """Whose this key is, if the gateway knows it."""
        said = Enrol(invitation="of a key that is known")
        return self._post(ENROL, msgspec.json.encode(said), Enrolled, key)

    def _post(
        self, path: str, body: bytes, kind: type[A], key: Ed25519PrivateKey | None = None
    ) -> A:
        headers = sign(
            key or self._key,
            method="POST",
            authority=self._authority,
            path=path,
            body=body,
            created_s=int(time.time()),
            counter=self._counter.take(),
        )
        request = urllib.request.Request(
            self._url + path, body, {**headers, "content-type": "application/json"}, method="POST"
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return msgspec.json.decode(answer.read(), type=kind)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from None
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            why = error.reason if isinstance(error, urllib.error.URLError) else error
            raise AwayError(f"{self._url} gives no answer: {why}") from None


def _refusal(status: int, body: bytes) -> RefusedError | AwayError:
    try:
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return AwayError(f"the gateway answers with status {status} and no reason")
    return AwayError(message) if status in (429, 500) else RefusedError(code, message)
