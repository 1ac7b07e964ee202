"""A batch over a real engine, and a gateway that dies while it runs."""

from __future__ import annotations

import json
from collections import Counter

from batch_lines import OVER, jsonl, line

LINES = 60


def test_each_line_is_answered_and_charged_once_over_a_kill_of_the_gateway(stack, client):
    charged = stack.charged()
    lines = (line(number, model=stack.model, max_tokens=24) for number in range(LINES))
    file = client.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
    batch_id = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    ).id
    stack.eventually(
        lambda: client.batches.retrieve(batch_id).request_counts.completed >= 5, within_s=60
    )
    stack.kill_gateway()
    stack.eventually(lambda: client.batches.retrieve(batch_id).status in OVER, within_s=120)
    batch = client.batches.retrieve(batch_id)
    assert (batch.status, batch.request_counts.completed) == ("completed", LINES)
    answers = [
        json.loads(each) for each in client.files.content(batch.output_file_id).text.splitlines()
    ]
    assert Counter(a["custom_id"] for a in answers) == Counter(f"line-{n}" for n in range(LINES))
    told = {a["response"]["request_id"]: a["response"]["body"]["usage"] for a in answers}
    stack.eventually(lambda: len(stack.paid_since(charged)) >= LINES, within_s=20)
    paid = {c["request_id"]: c["completion_tokens"] for c in stack.paid_since(charged)}
    assert len(stack.paid_since(charged)) == len(paid) == LINES
    assert paid == {request: usage["completion_tokens"] for request, usage in told.items()}
