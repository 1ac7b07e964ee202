"""What tells that two requests are of one session, so that both go to the node whose prefix cache
has their common beginning. OpenRouter's order: it sends a session to the same provider by these.

The key is a hash of this process alone, by Python's own: nobody outside can aim at another's.
"""

from __future__ import annotations

from gateway.openai.request import Question
from gateway.openai.schema import ChatRequest, CompletionRequest, Message

SESSION_ID_MAX = 256


def sticky_key(account: str, question: Question, session_id: str) -> int | None:
    """`session_id` (of the body, else the header's), else `prompt_cache_key`, else the first system
    and the first other message. None: nothing tells.
    """
    model, request = question.model, question.request
    if isinstance(request, ChatRequest):
        named = request.session_id or session_id or request.prompt_cache_key
        if not named:
            return hash((account, model, *_opening(request.messages)))
    elif isinstance(request, CompletionRequest):
        named = request.session_id or session_id
    else:
        return None
    return hash((account, model, named[:SESSION_ID_MAX])) if named else None


def _opening(messages: list[Message]) -> tuple[str | None, str | None]:
    """The texts of the first system and the first other message."""
    first = messages[0]
    if first.role not in ("system", "developer"):
        return None, _text(first)
    for message in messages:
        if message.role not in ("system", "developer"):
            return _text(first), _text(message)
    return _text(first), None


def _text(message: Message) -> str | None:
    content = message.content
    if isinstance(content, list):
        return "".join(part.text or part.type for part in content)
    return content
