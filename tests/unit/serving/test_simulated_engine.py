import pytest

from serving.simulated_engine import Pace, SimulatedEngine, tokenize, tokenize_chat


def test_one_token_a_word() -> None:
    assert len(tokenize(" one  two\nthree ")) == 3
    assert tokenize("") == []
    assert tokenize("a b")[0] != tokenize("b")[0]
    assert len(tokenize_chat([("user", "hello there")])) == 3 + 2 + 3


def test_the_same_seeds_give_the_same_answer() -> None:
    def answer(engine_seed: int = 0, **asked: int) -> str:
        prompt = tokenize("hello")
        return SimulatedEngine(seed=engine_seed).generate(prompt, tokens_max=99, **asked).text

    assert answer() == answer()
    assert len({answer(), answer(1), answer(seed=1), answer(index=1)}) == 4


@pytest.mark.parametrize(
    ("tokens_max", "ignore_eos", "count", "reason"),
    [(3, False, 3, "length"), (500, True, 500, "length"), (500, False, None, "stop")],
)
def test_how_an_answer_ends(
    tokens_max: int, ignore_eos: bool, count: int | None, reason: str
) -> None:
    choice = SimulatedEngine().generate([1], tokens_max=tokens_max, ignore_eos=ignore_eos)
    assert choice.finish_reason == reason
    assert count in (None, len(choice.tokens))
    assert len(choice.text.split(" ")) == len(choice.tokens)


def test_a_stop_string_is_cut_off_but_its_tokens_count() -> None:
    engine = SimulatedEngine()
    whole = engine.generate([1], tokens_max=9)
    stop = " ".join(whole.text.split(" ")[3:5])[1:]
    cut = engine.generate([1], tokens_max=9, stop=["never", stop])
    assert (cut.finish_reason, cut.stop_reason) == ("stop", stop)
    assert whole.text.startswith(cut.text)
    assert stop not in cut.text
    assert len(cut.tokens) == 5


def test_whole_blocks_are_cached_and_the_last_token_never() -> None:
    engine = SimulatedEngine(block_size=4)
    prompt = list(range(12))
    assert engine.prefill(prompt) == 0
    assert engine.prefill(prompt) == 8
    assert engine.prefill([*prompt, 99]) == 12
    assert engine.prefill([*prompt[:6], 7, 7, 7]) == 4
    assert engine.prefill([5, *prompt]) == 0
    assert engine.cached_tokens == 24
    assert engine.prompt_tokens == 12 + 12 + 13 + 9 + 13


def test_pace() -> None:
    pace = Pace(ttft_ms=100, token_ms=20)
    assert [pace.due_s(n) for n in (1, 2, 6)] == pytest.approx([0.1, 0.12, 0.2])
