"""One answer against its claim: what is evidence, and what only looks like it."""

from __future__ import annotations

import json

import pytest
from unit.gateway.test_fit import TOOLS, chat

from gateway.honesty.judge import Job, NodeChecks, judge
from metering.usage import Usage
from router.types import NodeRecord

NODE = NodeRecord(node_id="n", supplier_id="s", url="http://n", model="m", capacity=1)


def findings(finish: str, content: str | None, **asked) -> list:
    """Of 600 claimed tokens, with a tokenizer that takes words for tokens."""
    message = {"role": "assistant", "content": content, "tool_calls": []}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    job = Job(
        request_id="r",
        node=NODE,
        question=chat(**asked),
        usage=Usage(prompt_tokens=10, completion_tokens=600),
        answer=json.dumps(body).encode(),
    )
    return judge(job, NodeChecks(), lambda text: len(text.split()), 0)


def test_a_tool_call_cut_off_by_the_limit_is_billed_and_cannot_be_seen():
    # vLLM 0.32, `tool_choice` required, a parser without a grammar of its own.
    assert findings("length", "", tools=TOOLS, tool_choice="required") == []


@pytest.mark.parametrize(
    ("finish", "asked"), [("length", {}), ("stop", {"tools": TOOLS}), ("stop", {})]
)
def test_any_other_answer_with_less_text_than_tokens_is_evidence(finish, asked):
    assert [found.kind for found in findings(finish, "few words", **asked)] == ["completion_count"]
