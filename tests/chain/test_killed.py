"""Processes that pay, killed by SIGKILL: the short version of `make solana`."""

from __future__ import annotations

from .killed import balances_sane, made_world, paid_by_child, paid_once

SUPPLIERS = 3
STEP = 7
"""Of the statements one in so many; `make solana` takes every one."""


def test_killed_at_a_statement_and_run_again_everyone_is_paid_once(tmp_path):
    first = made_world(tmp_path / "first", SUPPLIERS)
    first.copy(tmp_path / "whole")
    assert paid_by_child(tmp_path / "whole", SUPPLIERS, 0)
    statements = int((tmp_path / "whole" / "statements").read_text())
    assert statements > 30, "too few to prove anything"
    for statement in range(1, statements + 1, STEP):
        world = first.copy(tmp_path / str(statement))
        folder = tmp_path / str(statement)
        assert not paid_by_child(folder, SUPPLIERS, statement)
        assert balances_sane(world, SUPPLIERS)
        assert paid_by_child(folder, SUPPLIERS, 0)
        assert paid_once(world, SUPPLIERS)


def test_killed_in_every_run_it_still_gets_to_the_end(tmp_path):
    world = made_world(tmp_path / "one", SUPPLIERS)
    deaths = 0
    while not paid_by_child(tmp_path / "one", SUPPLIERS, 23):
        assert balances_sane(world, SUPPLIERS)
        deaths += 1
        assert deaths < 20, "it makes no progress"
    assert deaths > 1
    assert paid_once(world, SUPPLIERS)
