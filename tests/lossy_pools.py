"""The real script in a real Redis, over a wire on which questions and answers get lost."""

from __future__ import annotations

import msgspec
import redis as redis_client

from metering.pools import Answer, DisownedError, PoolsUnavailableError
from metering.redis_pools import SCRIPT


class LossyPools:
    """`Pools`, on which the next question or answer may get lost."""

    def __init__(self, client):
        self._script = client.register_script(SCRIPT.read_text())
        self.question_lost = self.answer_lost = False
        self.late = None

    async def ask(self, question):
        if self.question_lost:
            self.late = question
            raise PoolsUnavailableError("the question was lost")
        answer = self.hear(question)
        if self.answer_lost:
            raise PoolsUnavailableError("the answer was lost")
        return answer

    def hear(self, question):
        try:
            told = self._script(args=["ledger", msgspec.json.encode(question)])
        except redis_client.ResponseError as error:
            if not str(error).startswith(("OVERTAKEN", "DISOWNED")):
                raise
            raise DisownedError(str(error)) from error
        return msgspec.json.decode(told, type=Answer, strict=False)
