from pathlib import Path

import pytest

from router.simulator.job import Job, infinite_cache_hits
from router.simulator.trace_file import TraceError, read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:59.5000000,374,44
2023-11-17 00:00:01.2500000,396,109
"""
MOONCAKE = """{"timestamp": 40, "input_length": 600, "output_length": 3, "hash_ids": [7, 8]}
{"timestamp": 0, "input_length": 1100, "output_length": 6, "hash_ids": [7, 9, 10]}
"""


def trace(tmp_path: Path, text: str) -> list[Job]:
    file = tmp_path / "trace"
    file.write_text(text)
    return read_trace(file)


def test_azure_s_lines_are_read_across_midnight(tmp_path: Path) -> None:
    first, second = trace(tmp_path, AZURE)
    assert (first.arrival_ns, first.prompt_tokens, first.output_tokens) == (0, 374, 44)
    assert second.arrival_ns == 1_750_000_000
    assert second.blocks == ()


def test_mooncake_s_lines_come_in_order_of_time(tmp_path: Path) -> None:
    first, second = trace(tmp_path, MOONCAKE)
    assert first.blocks == (7, 9, 10)
    assert (second.arrival_ns, second.prompt_tokens) == (40_000_000, 600)
    assert infinite_cache_hits([first, second]) == 512 / 1700


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither Azure's head"),
        ("a,b\n1,2\n", "neither Azure's head"),
        (AZURE.splitlines()[0] + "\n", "has no requests"),
        (AZURE + "2023-11-17 00:00:02,x,1\n", r":4: .*expected a line like"),
        (MOONCAKE + '{"timestamp": 1}\n', r":3: .*expected an object with"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        trace(tmp_path, text)
