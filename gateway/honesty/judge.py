"""One finished answer against what its node claimed for it. Pure, and slow: off the event loop."""

from __future__ import annotations

import msgspec

from gateway.exchange.exchange import Exchange
from gateway.honesty.fit import fit_of, hidden_tokens_max, prompt_of
from gateway.openai.request import Question
from gateway.openai.schema import ChatRequest
from metering.drift import Drift, Slope
from metering.finding import Finding, FindingKind
from metering.recount import (
    Count,
    Delivered,
    Fit,
    Recount,
    delivered_by_answer,
    delivered_by_stream,
    recount_completion,
    recount_prompt,
)
from metering.usage import Usage
from router.types import NodeRecord


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to be checked."""

    request_id: str
    node: NodeRecord
    question: Question
    usage: Usage
    """As the node claims."""
    answer: bytes
    """As the node sent it."""


class NodeChecks:
    """What many answers of one node come to."""

    __slots__ = ("completions", "prompts")

    def __init__(self) -> None:
        self.prompts = Drift()
        self.completions = Drift()


def judge(job: Job, checks: NodeChecks, count: Count | None, now_ns: int) -> list[Finding]:
    """What is wrong with it; `checks` learn from it. `count` None: the tokenizer is not known.

    Raises MalformedStreamError for an answer that cannot be read.
    """
    findings: list[Finding | None] = []
    fit = fit_of(job.question)
    if fit is not Fit.NONE:
        read = delivered_by_stream if job.question.stream else delivered_by_answer
        delivered = read(job.answer)
        if not _hides_reasoning(job, delivered) and not _drops_a_call(job, delivered):
            findings += _judge_completion(job, delivered, checks, count, fit, now_ns)
    findings += _judge_prompt(job, checks, count, now_ns)
    return [finding for finding in findings if finding is not None]


def impossible(exchange: Exchange, usage: Usage, now_ns: int) -> Finding:
    """More tokens than the request could ever have come to."""
    most = exchange.first.ask.features
    of_prompt = usage.prompt_tokens > most.prompt_tokens
    node = exchange.attempt.node
    return Finding(
        finding_id=f"{FindingKind.IMPOSSIBLE}:{exchange.charge.request_id}",
        kind=FindingKind.IMPOSSIBLE,
        node_id=node.node_id,
        supplier_id=node.supplier_id,
        model=node.model,
        request_id=exchange.charge.request_id,
        expected=most.prompt_tokens if of_prompt else most.completion_tokens_max,
        claimed=usage.prompt_tokens if of_prompt else usage.completion_tokens,
        evidence={"of": "prompt" if of_prompt else "completion"},
        found_ns=now_ns,
    )


def _judge_completion(
    job: Job, delivered: Delivered, checks: NodeChecks, count: Count | None, fit: Fit, now_ns: int
) -> list[Finding | None]:
    question = job.question
    found = recount_completion(
        delivered,
        job.usage.completion_tokens,
        count=count,
        fit=fit,
        choices=question.choices,
        hidden_tokens_max=hidden_tokens_max(question),
    )
    slope = None
    if count is not None and fit is Fit.PLAIN and not delivered.calls:
        shape = f"{question.endpoint}:{question.choices}"
        slope = checks.completions.add(shape, found.counted, found.claimed)
    return [
        _of_count(FindingKind.COMPLETION_COUNT, job, found, now_ns),
        _of_slope(FindingKind.COMPLETION_DRIFT, job, slope, now_ns),
    ]


def _judge_prompt(
    job: Job, checks: NodeChecks, count: Count | None, now_ns: int
) -> list[Finding | None]:
    prompt = prompt_of(job.question)
    if prompt is None:
        return []
    found = recount_prompt(
        prompt.texts,
        job.usage.prompt_tokens,
        count=count,
        token_ids=prompt.token_ids,
        template=prompt.template,
    )
    slope = None
    if count is not None:
        slope = checks.prompts.add(prompt.shape, found.counted, found.claimed)
    return [
        _of_count(FindingKind.PROMPT_COUNT, job, found, now_ns),
        _of_slope(FindingKind.PROMPT_DRIFT, job, slope, now_ns),
    ]


def _hides_reasoning(job: Job, delivered: Delivered) -> bool:
    """Some servers bill reasoning that they show to nobody. vLLM shows what it bills."""
    hides = job.usage.reasoning_tokens > 0 and not delivered.reasoned
    return hides and job.node.engine != "vllm"


def _drops_a_call(job: Job, delivered: Delivered) -> bool:
    """A tool call that its limit cut off cannot be read: vLLM bills it and delivers none of it."""
    request = job.question.request
    return delivered.cut and isinstance(request, ChatRequest) and bool(request.tools)


def _of_count(kind: FindingKind, job: Job, found: Recount, now_ns: int) -> Finding | None:
    if found.honest:
        return None
    evidence: dict[str, int | str] = {"counted": found.counted, "allowance": found.allowance}
    return _finding(kind, job, job.request_id, found.expected, found.claimed, evidence, now_ns)


def _of_slope(kind: FindingKind, job: Job, slope: Slope | None, now_ns: int) -> Finding | None:
    if slope is None:
        return None
    added = round(slope.counted * slope.excess)
    evidence: dict[str, int | str] = {
        "answers": slope.answers,
        "counted": slope.counted,
        "excess_permille": round(slope.excess * 1000),
        "error_permille": round(slope.error * 1000),
        "last_request": job.request_id,
    }
    expected = slope.claimed - added
    return _finding(kind, job, None, expected, slope.claimed, evidence, now_ns)


def _finding(
    kind: FindingKind,
    job: Job,
    request_id: str | None,
    expected: int,
    claimed: int,
    evidence: dict[str, int | str],
    now_ns: int,
) -> Finding:
    node = job.node
    return Finding(
        finding_id=f"{kind}:{job.request_id}",
        kind=kind,
        node_id=node.node_id,
        supplier_id=node.supplier_id,
        model=node.model,
        request_id=request_id,
        expected=expected,
        claimed=claimed,
        evidence=evidence,
        found_ns=now_ns,
    )
