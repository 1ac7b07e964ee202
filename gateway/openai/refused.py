"""Parameters that are refused although OpenAI or vLLM know them, and what to do instead. Pure."""

from __future__ import annotations

_OURS = "The gateway decides that."
_RENDER = "It has no effect on what is generated."
_STRUCTURED = "Use 'structured_outputs' or 'response_format'."
_TOOLS = "Use 'tools' and 'tool_choice'."
_TEXT = "Only text is generated here."
_UNSAFE = "It reaches into the node that answers, so no client may set it."

INSTEAD = {
    # vLLM's
    "priority": _OURS,
    "request_id": "The gateway gives each request its id: it is in the header x-request-id.",
    "kv_transfer_params": _UNSAFE,
    "ec_transfer_params": _UNSAFE,
    "vllm_xargs": _UNSAFE,
    "prompt_embeds": _UNSAFE,
    "routed_experts_prompt_start": _UNSAFE,
    "return_token_offsets": _RENDER,
    "mm_payload": _RENDER,
    "return_mm_kwargs": _RENDER,
    "padding": "Prompts are taken as they are.",
    "guided_json": _STRUCTURED,
    "guided_regex": _STRUCTURED,
    "guided_choice": _STRUCTURED,
    "guided_grammar": _STRUCTURED,
    "guided_decoding_backend": _STRUCTURED,
    # OpenAI's
    "functions": _TOOLS,
    "function_call": _TOOLS,
    "audio": _TEXT,
    "web_search_options": "No model here searches the web.",
    "moderation": "Nothing is moderated here.",
    "prompt_cache_options": "Prompts are cached without being told to.",
    # OpenRouter's
    "models": "Name one 'model'.",
    "provider.order": "Use 'only', 'ignore' or 'sort'.",
    "provider.quantizations": "Each model here is served in one precision.",
    "plugins": "There are none here.",
    "transforms": "Prompts are taken as they are; see 'truncate_prompt_tokens'.",
    "top_a": "Use 'min_p' or 'top_p'.",
}


def instead_of(param: str) -> str:
    """A sentence for the error's message, after a space; empty if there is nothing to say."""
    hint = INSTEAD.get(param)
    return "" if hint is None else " " + hint
