"""The short run of `make sim`, and proof that it finds what it looks for."""

from __future__ import annotations

import itertools

import pytest

from .mutants import MUTANTS
from .play import player
from .run import FAULTS, lines, run

WORLDS = 120
SEEDS_MAX = 400
"""Within so many, each mistake is found: most at once."""
SWEPT = 300


def test_the_books_are_exact_whenever_the_gateway_dies():
    report = run(10_000, WORLDS, 0)
    assert not report.failures, "\n".join(lines(report))
    assert report.played.deaths > 2 * WORLDS  # or else the fuse is too long and this proves nothing
    assert len(report.played.killed_at) > 40
    assert report.played.replies["asked: admitted"] > 10 * WORLDS


def test_every_step_of_a_life_is_a_survivable_moment_to_die():
    with player() as one:
        worlds = list(itertools.islice(one.sweep(3), SWEPT))
    assert sum(played.deaths for played in worlds) > len(worlds)


def test_the_same_seed_is_the_same_world_to_the_byte():
    found = []
    for _ in range(2):
        with player() as one:
            found.append([one.play(seed) for seed in range(8)])
    assert found[0] == found[1]
    assert len({played.fingerprint for played in found[0]}) == 8


@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_mistake_is_found(mistake):
    with player() as one, MUTANTS[mistake]():
        for seed in range(SEEDS_MAX):
            try:
                one.play(seed)
            except FAULTS:
                return
    raise AssertionError(f"not found in {SEEDS_MAX} seeds")


def test_a_failure_says_how_to_see_it_again():
    with MUTANTS["a charge stays open"]():
        report = run(11, 2, 1)
    told = "\n".join(lines(report))
    assert "again: make sim ARGS='--seeds 0 --sweeps 1 --from 11'" in told
    assert "again: make sim ARGS='--seeds 1 --sweeps 0 --from 12'" in told
