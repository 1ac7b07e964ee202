"""The `[[quota]]` sections: how many tokens a day an account has of a category of models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import msgspec

from gateway.config_error import ConfigError
from metering.purse import Quota

_NAME = re.compile(r"[a-z0-9._-]{1,32}", re.ASCII)


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    category: str
    """Its name, such as api_completions or embeddings."""
    models: tuple[str, ...]
    """The `id`s of those that it counts."""
    tokens_per_day: Annotated[int, msgspec.Meta(ge=1)]
    """Of each account, on each UTC day: prompt and completion."""
    per_model: bool = False
    """So many of each model, instead of all models of the category together."""
    exempt_accounts: tuple[str, ...] = ()
    """Those that have no such quota."""

    def quotas(self) -> dict[str, Quota]:
        """That of each model."""
        together = self._quota(self.category, self.models)
        return {
            model: self._quota(f"{self.category}/{model}", (model,)) if self.per_model else together
            for model in self.models
        }

    def _quota(self, name: str, models: tuple[str, ...]) -> Quota:
        return Quota(
            name=name,
            category=self.category,
            models=models,
            tokens_per_day=self.tokens_per_day,
            exempt=frozenset(self.exempt_accounts),
        )


def quotas_of(sections: Iterable[QuotaConfig]) -> dict[str, Quota]:
    """The quota of each model that has one."""
    return {model: quota for section in sections for model, quota in section.quotas().items()}


def check_quotas(sections: Iterable[QuotaConfig], models: Iterable[str]) -> None:
    """Raises ConfigError."""
    categories: set[str] = set()
    claimed: dict[str, str] = {}
    for section in sections:
        category = section.category
        if _NAME.fullmatch(category) is None:
            raise ConfigError(
                f"[[quota]] category '{category}' is no name: use 1 to 32 of a-z, 0-9, dot, dash, "
                "underscore"
            )
        if category in categories:
            raise ConfigError(f"[[quota]] '{category}' is configured twice: make one section of it")
        categories.add(category)
        if not section.models:
            raise ConfigError(f"[[quota]] '{category}' names no models: list their ids")
        for model in section.models:
            if model not in models:
                raise ConfigError(f"[[quota]] '{category}': '{model}' is no [[model]]")
            if model in claimed:
                raise ConfigError(
                    f"[[quota]] '{category}': '{model}' is in '{claimed[model]}' already; a model "
                    "is of one category"
                )
            claimed[model] = category
