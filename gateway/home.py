"""The folder that holds all state of a gateway: where each file lies."""

from __future__ import annotations

from pathlib import Path


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config_file(self) -> Path:
        return self.path / "tollgate.toml"

    @property
    def ledger_file(self) -> Path:
        return self.path / "ledger.db"

    @property
    def spool_file(self) -> Path:
        return self.path / "spool.db"
