"""The models on sale: configuration, price and tokenizer of each, by id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gateway.config import ConfigError, ModelConfig
from gateway.openai.request import Question
from metering.price_book import PriceList, Tariff
from metering.prices import ModelPrice
from metering.purse import Quota
from metering.tokens import TokenCounter, TokenizerError
from metering.usage import Usage

COUNT_CHARS_MAX = 32 * 1024
"""Longer texts are estimated by their bytes: an estimate must not hold up the event loop."""

BYTES_PER_TOKEN = 4


class Model:
    """One model. Raises ConfigError if its tokenizer file cannot be used."""

    def __init__(self, config: ModelConfig, quota: Quota | None = None) -> None:
        self.config = config
        self.quota = quota
        """What of it and its like an account may use in a day."""
        self.id = config.id
        self.prices = PriceList([config.tariff()])
        self._in_force = self.prices.at(0)
        self.free_tokens_per_day = config.free_tokens_per_day
        self.context_tokens_max = config.context_tokens_max
        self.counter: TokenCounter | None = None
        if config.tokenizer_file is not None:
            try:
                self.counter = TokenCounter.from_tokenizer_json(Path(config.tokenizer_file))
            except (OSError, TokenizerError) as error:
                raise ConfigError(f"model '{config.id}': tokenizer_file: {error}") from None

    def price_at(self, now_ns: int) -> ModelPrice:
        """What a request that is admitted at this wall-clock time pays."""
        in_force = self._in_force
        if not in_force.from_ns <= now_ns < in_force.until_ns:
            in_force = self._in_force = self.prices.at(now_ns)
        return in_force.price

    def batch_price_at(self, now_ns: int) -> ModelPrice:
        """The same for a request of a batch."""
        return self.prices.at(now_ns).batch_price

    def reprice(self, tariffs: Iterable[Tariff]) -> None:
        """From now on the book's tariffs hold too, each from its own time on."""
        self.prices = PriceList([self.config.tariff(), *tariffs])
        self._in_force = self.prices.at(0)

    async def count(self, texts: list[str]) -> int:
        """Tokens of these texts, which a prompt that holds them cannot be below."""
        counter = self.counter
        assert counter is not None
        return await asyncio.to_thread(lambda: sum(counter.count(text.strip()) for text in texts))

    def estimate(self, question: Question, delivered: str) -> Usage:
        """For a node that reported no usage. The ledger marks it ESTIMATED for ever."""
        prompt = "".join(question.prompt_texts())
        return Usage(
            prompt_tokens=self._roughly(prompt), completion_tokens=self._roughly(delivered)
        )

    def _roughly(self, text: str) -> int:
        if self.counter is not None and len(text) <= COUNT_CHARS_MAX:
            return self.counter.count(text)
        return -(-len(text.encode()) // BYTES_PER_TOKEN)


class Catalogue:
    def __init__(
        self, configs: tuple[ModelConfig, ...], quotas: Mapping[str, Quota] | None = None
    ) -> None:
        """`quotas` by model."""
        quotas = quotas or {}
        self._models = {config.id: Model(config, quotas.get(config.id)) for config in configs}

    def get(self, model_id: str) -> Model | None:
        return self._models.get(model_id)

    @property
    def only(self) -> Model | None:
        """The one model on sale, if there is one alone."""
        return next(iter(self._models.values())) if len(self._models) == 1 else None

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())
