from router.simulator.engine import Engine, Run
from router.simulator.gpu_class import GpuClass
from router.simulator.job import Job

GPU = GpuClass(
    name="test",
    prefill_ns=10,
    step_ns=1_000,
    step_ns_per_request=100,
    kv_tokens=10_000,
    cache_tokens=4 * 512,
    batch_max=2,
    chunk_tokens=1_000,
)


def run(prompt: int, output: int, blocks: tuple[int, ...] = (), job_id: int = 0) -> Run:
    job = Job(
        job_id=job_id, arrival_ns=0, prompt_tokens=prompt, output_tokens=output, blocks=blocks
    )
    return Run(job, None)


def played(engine: Engine) -> list[tuple[str, int, Run]]:
    """Every first token and every end, with its time."""
    told = []
    while (now := engine.step_end_ns) is not None:
        firsts, ended = engine.step_done(now)
        told += [("first", now, each) for each in firsts] + [("end", now, each) for each in ended]
    return told


def healthy(gpu: GpuClass = GPU) -> Engine:
    return Engine(gpu, lambda now_ns: 1.0)


def test_a_prompt_is_computed_in_chunks_and_then_one_token_a_step() -> None:
    engine = healthy()
    one = run(1_500, 4)
    engine.arrive(one, 0)
    # 1,000 tokens and 500: two steps of 1,000 ns beside them; then three tokens more.
    assert played(engine) == [("first", 17_000, one), ("end", 17_000 + 3 * 1_100, one)]
    assert engine.kv_tokens == 0


def test_a_newcomer_waits_for_the_end_of_a_step_only() -> None:
    engine = healthy()
    engine.arrive(run(100, 1_000), 0)
    first_ns = engine.step_end_ns or 0
    engine.step_done(first_ns)
    second = run(100, 1, job_id=1)
    engine.arrive(second, first_ns + 1_150)  # in the second step of decoding
    assert engine.step_end_ns == first_ns + 2 * 1_100
    engine.step_done(engine.step_end_ns)
    assert engine.step_end_ns == first_ns + 2 * 1_100 + 1_100 + 1_000


def test_what_has_no_room_waits_for_an_end() -> None:
    engine = healthy()
    runs = [run(4_000, 900, job_id=number) for number in range(3)]
    for each in runs:
        engine.arrive(each, 0)
    told = played(engine)
    firsts = {each: now for kind, now, each in told if kind == "first"}
    ends = {each: now for kind, now, each in told if kind == "end"}
    assert firsts[runs[2]] > min(ends[runs[0]], ends[runs[1]])


def test_a_prefix_is_computed_once_and_the_oldest_blocks_go() -> None:
    engine = healthy()
    for number, blocks in enumerate([(1, 2), (1, 2), (5, 6, 7, 8), (1, 2)]):
        each = run(len(blocks) * 512, 1, blocks, job_id=number)
        engine.arrive(each, 0)
        played(engine)
        expected = {1: 1_024 - 16}.get(number, 0)
        assert each.cached_tokens == expected


def test_of_two_with_one_prefix_the_second_finds_it_once_its_turn_comes() -> None:
    engine = healthy()
    one, two = run(1_024, 1, (1, 2)), run(1_024, 1, (1, 2), job_id=1)
    engine.arrive(one, 0)
    engine.arrive(two, 0)
    assert two.left_tokens == 16, "it is promised"
    played(engine)
    assert two.cached_tokens > 0 or one.left_tokens == 0
    assert not engine.promised


def test_a_slow_engine_takes_its_time_and_a_dead_one_loses_all() -> None:
    slow = Engine(GPU, lambda now_ns: 3.0)
    slow.arrive(run(1_000, 1), 0)
    assert slow.step_end_ns == 3 * 11_000
    assert len(slow.die()) == 1
    assert slow.step_end_ns is None
    assert slow.kv_tokens == 0
