"""Progress where there is no terminal: one plain line per change, none repeated at once."""

import io

import pytest
from rich.console import Console

from gateway.up.screen import Screen


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(output: io.StringIO) -> Screen:
    return Screen(Console(file=output, force_terminal=False, width=60))


def test_a_step_says_what_it_does_and_how_long_it_took(screen: Screen, output: io.StringIO) -> None:
    with screen.step("starting Ray") as step:
        for _ in range(5):
            step.update("starting Ray")
        step.update("loading the weights")
    lines = output.getvalue().splitlines()
    assert lines[:2] == ["starting Ray ...", "loading the weights (0 s) ..."]
    assert lines[2].startswith("done: loading the weights (")
    assert len(lines) == 3


def test_a_step_that_raises_is_told_as_stopped(screen: Screen, output: io.StringIO) -> None:
    with pytest.raises(ValueError, match="broken"), screen.step("starting Ray"):
        raise ValueError("broken")
    assert output.getvalue().splitlines()[1].startswith("stopped: starting Ray (")


def test_an_error_shows_the_log_and_what_to_do_with_nothing_folded_or_styled(
    screen: Screen, output: io.StringIO
) -> None:
    line = "[bold]x[/bold] " + "long " * 30
    screen.fail("the gateway does not serve", f"one\n{line}", "Take another port.")
    assert output.getvalue().splitlines() == [
        "error: the gateway does not serve",
        "  | one",
        f"  | {line}",
        "Take another port.",
    ]


def test_a_terminal_gets_one_line_that_moves() -> None:
    output = io.StringIO()
    with Screen(Console(file=output, force_terminal=True)).step("starting Ray") as step:
        step.update("loading the weights")
    assert "done: loading the weights" in output.getvalue()
