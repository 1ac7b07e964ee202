"""One salt of the nodes' prefix caches for each account. Pure.

A prompt that is in a node's cache is answered sooner, so whoever may use the same cache can find
out by timing what others ask. With a salt of its own an account shares its cache with nobody but
itself. The salt needs no secret: no client sets one, since what it gives as `cache_salt` is mixed
with its account's name, to divide its cache further.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256

ACCOUNTS_CACHED = 4096


def cache_salt(account: str, own: str = "") -> bytes:
    """As it is sent: 43 characters that vLLM takes. `own` is the client's. No account's name holds
    a NUL, so no two pairs give the same.
    """
    return urlsafe_b64encode(sha256(f"{account}\0{own}".encode()).digest())[:43]


@lru_cache(ACCOUNTS_CACHED)
def salted_tail(account: str, options: bytes) -> bytes:
    """What ends a body for a vLLM: the account's salt, and options before it."""
    return b'%b,"cache_salt":"%b"}' % (options, cache_salt(account))
