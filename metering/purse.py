"""What a request draws from beside its account's balance: a key's spend cap, free tokens, a daily
quota. Pure.

    purse   holds                                                  a charge draws
    cap     what a key and its sub-keys may spend in a cycle        what it is charged, in nano-USD
    free    an account's free tokens of a model, of one UTC day     its tokens, at the price FREE
    quota   an account's tokens of a category, of one UTC day       its tokens, at whatever price

A purse is budgeted as an account is (`budget.py`, `shared_budget.py`), under a name that no account
can have. What is left of it is its limit less what the ledger's charges drew from it. A charge
counts in the cycle and the day in which it was reserved, whenever it ends.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering.cycle import Cycle, cycle_end_ns, cycle_start_ns
from metering.money import PPM
from metering.prices import Reduction, named_price
from metering.usage import Usage

FREE = named_price(0, 0, 0, reduction=Reduction.FREE_TOKENS, discount_ppm=PPM)
FOREVER_NS = 2**63 - 1
_SECOND_NS = 1_000_000_000
_CAP_PREFIX = "cap:"


class PurseKind(StrEnum):
    CAP = "cap"
    FREE = "free"
    QUOTA = "quota"


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What every account may use of these models in a day, whoever pays for it."""

    name: str
    category: str
    models: tuple[str, ...]
    tokens_per_day: int
    exempt: frozenset[str]
    """Accounts without it."""


class Draw(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The most that a charge draws from a purse, set aside when it was opened."""

    purse: str
    amount: int

    @property
    def in_tokens(self) -> bool:
        return not self.purse.startswith(_CAP_PREFIX)


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` in nano-USD for a cap, else in tokens. It counts the charges reserved from `from_ns`
    until before `until_ns`: a cap those of the key `owner` and its sub-keys, a quota those of the
    account `owner` for `models`, free tokens of these those at the price FREE.
    """

    kind: PurseKind
    name: str
    owner: str
    of: str
    """The model whose tokens are free, or the quota's name."""
    models: tuple[str, ...]
    limit: int
    from_ns: int
    until_ns: int

    def at(self, now_ns: int) -> bool:
        return self.from_ns <= now_ns < self.until_ns


def cap_purse(key_id: str, cap_nano_usd: int, cycle: Cycle | None, now_ns: int) -> Purse:
    """The spend cap of a key in the cycle at hand; for life without a cycle."""
    from_ns = 0 if cycle is None else cycle_start_ns(cycle, now_ns)
    return Purse(
        kind=PurseKind.CAP,
        name=f"{_CAP_PREFIX}{key_id}:{cycle or 'life'}:{from_ns // _SECOND_NS}",
        owner=key_id,
        of="",
        models=(),
        limit=cap_nano_usd,
        from_ns=from_ns,
        until_ns=FOREVER_NS if cycle is None else cycle_end_ns(cycle, now_ns),
    )


def free_purse(account: str, model: str, tokens: int, now_ns: int) -> Purse:
    """The free tokens of an account for a model on the UTC day at hand."""
    from_ns = cycle_start_ns(Cycle.DAILY, now_ns)
    return Purse(
        kind=PurseKind.FREE,
        name=f"free:{account}:{from_ns // _SECOND_NS}:{model}",
        owner=account,
        of=model,
        models=(model,),
        limit=tokens,
        from_ns=from_ns,
        until_ns=cycle_end_ns(Cycle.DAILY, now_ns),
    )


def quota_purse(account: str, quota: Quota, now_ns: int) -> Purse:
    """What an account has of a quota on the UTC day at hand."""
    from_ns = cycle_start_ns(Cycle.DAILY, now_ns)
    return Purse(
        kind=PurseKind.QUOTA,
        name=f"quota:{account}:{from_ns // _SECOND_NS}:{quota.name}",
        owner=account,
        of=quota.name,
        models=quota.models,
        limit=quota.tokens_per_day,
        from_ns=from_ns,
        until_ns=cycle_end_ns(Cycle.DAILY, now_ns),
    )


def is_purse(name: str) -> bool:
    """The name of a purse, and not of an account."""
    return ":" in name


def drawn(draw: Draw, usage: Usage | None, charged_nano_usd: int) -> int:
    """What a charge that ended so took of what was set aside for it: never more than that."""
    if not draw.in_tokens:
        return min(draw.amount, charged_nano_usd)
    used = 0 if usage is None else usage.prompt_tokens + usage.completion_tokens
    return min(draw.amount, used)
