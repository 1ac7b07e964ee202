"""One request of a trace: when it comes, how long it is, what it shares with others."""

from collections.abc import Sequence

import msgspec

BLOCK_TOKENS = 512
"""Tokens of a prompt that one block id stands for, as in Mooncake's traces."""


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    job_id: int
    arrival_ns: int
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    """Ids of the prompt's blocks in order; an id stands for all the blocks before it too."""


def infinite_cache_hits(jobs: Sequence[Job], counted_from: int = 0) -> float:
    """The share of prompt tokens that one cache without bounds would have; of the jobs from
    `counted_from` on, with what the earlier ones left.
    """
    seen: set[int] = set()
    hits = total = 0
    for number, job in enumerate(jobs):
        if number >= counted_from:
            hits += held_tokens(job, seen)
            total += job.prompt_tokens
        seen.update(job.blocks)
    return hits / total if total else 0.0


def held_tokens(job: Job, blocks: set[int] | dict[int, None]) -> int:
    """Tokens of the job's prompt whose blocks are among these, from its beginning on."""
    held = 0
    for block in job.blocks:
        if block not in blocks:
            break
        held += 1
    return min(held * BLOCK_TOKENS, job.prompt_tokens)
