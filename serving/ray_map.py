"""A function over many jobs on a Ray cluster: where the simulator's paths run if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ray

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_CHUNK = 16


@contextmanager
def ray_map(address: str) -> Iterator[Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]]:
    """A map over the cluster at that address; answers come in the order of the jobs.

    Raises ConnectionError if there is no cluster. Its nodes need this package.
    """
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    try:
        yield _over_cluster
    finally:
        ray.shutdown()


def _over_cluster(function: Callable[[Job], Answer], jobs: list[Job]) -> Iterator[Answer]:
    remote = ray.remote(_each)
    chunks = [jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK)]
    for waited in [remote.remote(function, chunk) for chunk in chunks]:
        yield from ray.get(waited)


def _each(function: Callable[[Job], Answer], jobs: list[Job]) -> list[Answer]:
    return [function(job) for job in jobs]
