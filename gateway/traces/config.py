"""The `[traces]` section: where OpenTelemetry's traces and metrics go, if anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from gateway.config_error import ConfigError

if TYPE_CHECKING:
    from gateway.admission.till import Till
    from gateway.telemetry.counts import Counts
    from gateway.traces.traces import Traces


class TracesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    otlp_url: str | None = None
    """Of a collector's OTLP over HTTP, such as http://127.0.0.1:4318; None: neither."""
    one_in: Annotated[int, msgspec.Meta(ge=1)] = 1
    """One request in so many is traced."""

    def open(self, till: Till, instance: str, counts: Callable[[], Counts]) -> Traces | None:
        """What sends them, and what was counted, as this instance; None if they are off. Raises
        ConfigError where what they need is not installed.
        """
        if self.otlp_url is None:
            return None
        try:
            from gateway.traces.traces import Traces  # here, because few need its 5 MB
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"[traces] needs {error.name}, which is not installed: pip install 'tollgate[otlp]'"
            ) from None
        return Traces(self, till, instance, counts)
