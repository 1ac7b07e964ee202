"""What is learned of a fleet beside how fast its nodes are: whose cache has which prompts, how long
answers are.
"""

from router.known_node import KnownNode
from router.prefix_index import BLOCKS_OF_NODE_MAX, PrefixIndex
from router.types import Ask, Decision, RequestFeatures

CHAMPIONS_MAX = 3
"""Nodes that are looked at because they have much of the prompt in their cache."""
_ANSWER_TOKENS = 200.0
_NEW_ANSWER = 0.02
"""How much of the mean one more answer is."""


class Lessons:
    __slots__ = ("_answer_tokens", "_by_slot", "prefixes")

    def __init__(self) -> None:
        self.prefixes = PrefixIndex()
        self._answer_tokens: dict[str, float] = {}
        self._by_slot: dict[int, KnownNode] = {}

    def know(self, node: KnownNode) -> None:
        """From now on it has a bit in masks: the lowest that is free."""
        slot = 0
        while slot in self._by_slot:
            slot += 1
        node.slot = slot
        self._by_slot[slot] = node

    def forget(self, node: KnownNode) -> None:
        self.prefixes.forget(node.slot)
        del self._by_slot[node.slot]

    def ask(
        self,
        features: RequestFeatures,
        now_ns: int,
        excluded: frozenset[str],
        preferred: int,
        draw: int,
    ) -> Ask:
        matches = self.prefixes.matches(features.blocks) if features.blocks else ()
        expected = self._answer_tokens.get(features.model, _ANSWER_TOKENS)
        most = features.completion_tokens_max
        tokens = features.likely_prompt_tokens or features.prompt_tokens
        if not matches:
            return Ask(
                features,
                now_ns,
                excluded,
                preferred,
                expected_tokens=expected if expected < most else most,
                prompt_tokens=tokens,
            )
        cached = min(matches[0][0] * features.block_tokens, tokens)
        return Ask(
            features,
            now_ns,
            excluded,
            preferred,
            matches,
            self._champions(matches[0][1], draw),
            cached,
            expected if expected < most else most,
            tokens,
        )

    def _champions(self, mask: int, draw: int) -> tuple[int, ...]:
        """Places of nodes of the mask, which ones being left to chance if they are many."""
        if not mask & (mask - 1):
            node = self._by_slot.get(mask.bit_length() - 1)
            return () if node is None or node.index < 0 else (node.index,)
        bits = mask.bit_length()
        turned = draw % bits
        mask = mask >> turned | (mask & (1 << turned) - 1) << bits - turned
        places: list[int] = []
        while mask and len(places) < CHAMPIONS_MAX:
            low = mask & -mask
            mask ^= low
            node = self._by_slot.get((low.bit_length() - 1 + turned) % bits)
            if node is not None and node.index >= 0:
                places.append(node.index)
        return tuple(places)

    def sent(self, decision: Decision, node: KnownNode) -> int:
        """The node will have the prompt in its cache. How many tokens it must compute for that."""
        features = decision.ask.features
        if not features.blocks:
            return decision.ask.prompt_tokens
        load, most = node.load, BLOCKS_OF_NODE_MAX
        if load is not None and load.cache_tokens:
            most = min(most, load.cache_tokens // features.block_tokens)
        self.prefixes.add(node.slot, features.blocks, most)
        return decision.ask.prompt_tokens - decision.ask.cached_tokens(node.slot)

    def answered(self, model: str, tokens: int) -> None:
        mean = self._answer_tokens.get(model, _ANSWER_TOKENS)
        self._answer_tokens[model] = mean + (tokens - mean) * _NEW_ANSWER
