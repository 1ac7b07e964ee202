from __future__ import annotations

import pytest

from ide.gpu_table import GpuTableError, gpu_table, read_gpu_table


def test_the_published_multipliers() -> None:
    table = gpu_table("2025-07")
    assert table is not None
    published = {"B200": 30_000_000, "H200": 12_000_000, "RTX-4090": 1_250_000, "L4": 250_000}
    assert {name: table.multiplier_ppm[name] for name in published} == published
    assert (table.pool["B200"], table.pool["T4"], table.pool["A10"]) == (
        "enterprise",
        "community",
        "dropped",
    )
    assert {
        table.multiplier_ppm[name] for name, pool in table.pool.items() if pool == "dropped"
    } == {0}


def test_another_version_is_not_here() -> None:
    assert gpu_table("2024-01") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[a]\nX = "1"\n[b]\nX = "2"', "X comes twice"),
        ('[a]\nX = "ten"', "no multiplier"),
        ('[a]\nX = "1.0000001"', "6 decimals"),
        ('[a]\nX = "1001"', "up to 1,000"),
    ],
)
def test_refuses(text: str, says: str) -> None:
    with pytest.raises(GpuTableError, match=says):
        read_gpu_table(f'version = "x"\n{text}')
