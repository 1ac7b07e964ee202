"""What a lying node claims."""

import pytest

from serving.fake_faults import Fault


@pytest.mark.parametrize(
    ("fault", "claimed"),
    [
        (Fault(), (8, 6)),
        (Fault(inflate_usage_percent=10), (8, 7)),
        (Fault(inflate_prompt_percent=10), (9, 6)),
        (Fault(inflate_prompt_percent=100, inflate_usage_percent=100), (16, 12)),
        (Fault(claim_prompt_tokens=5, inflate_prompt_percent=100), (5, 6)),
    ],
)
def test_claims(fault: Fault, claimed: tuple[int, int]) -> None:
    assert (fault.reported_prompt(8), fault.reported(6)) == claimed
