"""What a class of GPU does with a 30B model: round figures, of the right size to one another."""

import msgspec


class GpuClass(msgspec.Struct, frozen=True, kw_only=True):
    """A step serves one token to each running request and up to `chunk_tokens` of waiting prompts;
    it takes `step_ns + running * step_ns_per_request + prompt tokens * prefill_ns`.
    """

    name: str
    prefill_ns: int
    step_ns: int
    step_ns_per_request: int
    kv_tokens: int
    """What runs must have room in it."""
    cache_tokens: int
    """Of prompts that it remembers, those in the host's memory included."""
    batch_max: int
    """Requests that run at one time; more wait."""
    chunk_tokens: int

    def requests_per_s(self, prompt_tokens: float, output_tokens: float) -> float:
        """How many such requests it finishes a second, its batch half full."""
        batch = self.batch_max / 2
        step_ns = self.step_ns / batch + self.step_ns_per_request
        return 1e9 / (prompt_tokens * self.prefill_ns + output_tokens * step_ns)


H100 = GpuClass(
    name="h100",
    prefill_ns=120_000,
    step_ns=20_000_000,
    step_ns_per_request=250_000,
    kv_tokens=1_000_000,
    cache_tokens=3_000_000,
    batch_max=128,
    chunk_tokens=1024,
)
A100 = GpuClass(
    name="a100",
    prefill_ns=220_000,
    step_ns=30_000_000,
    step_ns_per_request=350_000,
    kv_tokens=700_000,
    cache_tokens=2_000_000,
    batch_max=96,
    chunk_tokens=1024,
)
L40S = GpuClass(
    name="l40s",
    prefill_ns=400_000,
    step_ns=45_000_000,
    step_ns_per_request=500_000,
    kv_tokens=400_000,
    cache_tokens=1_200_000,
    batch_max=64,
    chunk_tokens=512,
)
RTX4090 = GpuClass(
    name="rtx4090",
    prefill_ns=500_000,
    step_ns=45_000_000,
    step_ns_per_request=600_000,
    kv_tokens=250_000,
    cache_tokens=800_000,
    batch_max=48,
    chunk_tokens=512,
)
CLASSES = (H100, A100, L40S, RTX4090)
