"""The folder that holds all state of a gateway: where each file lies."""

from __future__ import annotations

import re
from pathlib import Path

_SPOOL = re.compile(r"spool-([1-9]\d*)(\.db)?")
"""With `.db` it is of a development version: `Spool` refuses a folder that has one beside it."""


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config_file(self) -> Path:
        return self.path / "tollgate.toml"

    @property
    def up_file(self) -> Path:
        """What `tollgate up` tells of itself while it serves here."""
        return self.path / "up.json"

    @property
    def up_config_file(self) -> Path:
        """The configuration, and after it the engine that `tollgate up` started."""
        return self.path / "serve.toml"

    @property
    def ledger_file(self) -> Path:
        return self.path / "ledger.db"

    @property
    def admin_key_file(self) -> Path:
        return self.path / "admin_key"

    @property
    def gateway_identity_file(self) -> Path:
        """The key and certificate by which enrolled nodes know this gateway."""
        return self.path / "gateway_identity.pem"

    @property
    def files_folder(self) -> Path:
        """What customers uploaded and batches wrote."""
        return self.path / "files"

    @property
    def ide_file(self) -> Path:
        """Parameters of the epochs, if they are not the defaults."""
        return self.path / "ide.toml"

    @property
    def solana_vm_file(self) -> Path:
        """The embedded chain, where no other is configured."""
        return self.path / "solana-vm.db"

    @property
    def solana_vm_key_file(self) -> Path:
        """Of the wallet that pays on it."""
        return self.path / "solana-vm-key.json"

    def spool_folder(self, worker: int) -> Path:
        """Each worker has its own; the first one's is that of a gateway of one process."""
        return self.path / ("spool" if worker == 0 else f"spool-{worker}")

    def absent_spool_folders(self, workers: int) -> list[Path]:
        """The spools of workers that there were once and are not among the first so many."""
        found = (_SPOOL.fullmatch(path.name) for path in self.path.iterdir())
        absent = {int(match[1]) for match in found if match and int(match[1]) >= workers}
        return [self.spool_folder(worker) for worker in sorted(absent)]

    def metrics_file(self, worker: int) -> Path:
        """What this worker counted, for the others to read."""
        return self.path / "metrics" / f"worker-{worker}"
