"""Who may use the admin routes: whoever has the admin key, and no customer."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request

from gateway import errors
from gateway.admission.keyring import Keyring

Authorize = Callable[[Request], Awaitable[None]]


def authorize_with(admin_key: str | None, keyring: Keyring) -> Authorize:
    """A dependency that answers 401, or 403 to a customer's key. None: nobody is let in."""
    expected = None if admin_key is None else hashlib.sha256(admin_key.encode()).digest()

    async def authorize(request: Request) -> None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(secret.strip().encode("latin-1")).digest()
        if scheme.lower() != "bearer" or not secret.strip():
            raise errors.admin_key_missing()
        if expected is not None and hmac.compare_digest(given, expected):
            return
        if expected is None or keyring.find(given) is not None:
            raise errors.not_an_admin(admin_is_off=expected is None)
        raise errors.admin_key_wrong()

    return authorize
