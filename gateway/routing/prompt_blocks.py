"""A prompt as a chain of hashes, each standing for everything before it: what the router knows a
prefix by. Pure.

The hash is Python's own, of this process alone: nobody outside can aim at another's, and what an
account sends matches nothing of another's, as its cache salt has it at the nodes.
"""

from __future__ import annotations

from msgspec import structs

from gateway.openai.request import Question
from gateway.openai.schema import ChatRequest, CompletionRequest, Message
from router.router import Router
from router.types import RequestFeatures

BLOCK_CHARS = 512
BLOCKS_MAX = 256
"""Of a longer prompt the beginning: 128 KiB of text."""
CHARS_PER_TOKEN = 4
BLOCK_TOKENS = BLOCK_CHARS // CHARS_PER_TOKEN


def features_of(
    question: Question,
    context_tokens_max: int,
    sticky_key: int | None,
    request_id: str,
    router: Router,
) -> RequestFeatures:
    """What the router may know of a request; of its prompt only what its policy looks at."""
    features = question.features(context_tokens_max, sticky_key, request_id)
    if not router.policy.learns:
        return features
    likely = question.body_bytes // CHARS_PER_TOKEN
    return structs.replace(
        features,
        blocks=prompt_blocks(question),
        block_tokens=BLOCK_TOKENS,
        likely_prompt_tokens=min(likely, features.prompt_tokens) or 1,
    )


def prompt_blocks(question: Question) -> tuple[int, ...]:
    """Of what is certainly text; the last piece counts only if it is whole."""
    request = question.request
    if isinstance(request, ChatRequest):
        text = "\0".join([part for message in request.messages for part in _told(message)])
    elif isinstance(request, CompletionRequest) and isinstance(request.prompt, str):
        text = request.prompt
    else:
        return ()
    block = hash((question.account, question.model, request.cache_salt))
    blocks = []
    for start in range(0, min(len(text), BLOCK_CHARS * BLOCKS_MAX) - BLOCK_CHARS + 1, BLOCK_CHARS):
        block = hash((block, text[start : start + BLOCK_CHARS]))
        blocks.append(block)
    return tuple(blocks)


def _told(message: Message) -> list[str]:
    content = message.content
    if isinstance(content, str):
        return [message.role, content]
    return [message.role, *(part.text or part.type for part in content or ())]
