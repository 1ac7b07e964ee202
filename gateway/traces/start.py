"""Whether there are traces: only then is what they need imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.admission.till import Till
from gateway.config_error import ConfigError
from gateway.telemetry.counts import Counts
from gateway.traces.config import TracesConfig

if TYPE_CHECKING:
    from gateway.traces.traces import Traces


def traces_of(
    config: TracesConfig, till: Till, instance: str, counts: Callable[[], Counts]
) -> Traces | None:
    """What sends them, and what was counted, as this instance; None if they are off. Raises
    ConfigError where what they need is not installed.
    """
    if config.otlp_url is None:
        return None
    try:
        from gateway.traces.traces import Traces  # here, because few need its 5 MB
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"[traces] needs {error.name}, which is not installed: "
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        ) from None
    return Traces(config, till, instance, counts)
