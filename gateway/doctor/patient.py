"""What is examined: a home, its configuration as far as it can be read, and where the books are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.config import Config, load
from gateway.config_error import ConfigError
from gateway.doctor.remark import Remark, fault, ok, warning
from gateway.home import Home
from gateway.ledger_config import LedgerConfig, ledger_config

CHECK = "config"


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    home: Home
    config: Config | None
    """None: it cannot be read, and what it names is not looked at."""
    where: Path | str | None
    """The ledger; None if nobody can say."""

    @property
    def spools(self) -> list[Path]:
        """Those that there are, of workers that serve and of those that once did."""
        if not self.home.path.is_dir():
            return []
        first = self.home.spool_folder(0)
        return [*([first] if first.is_dir() else []), *self.home.absent_spool_folders(1)]


def admit(home: Home, file: Path | None) -> tuple[Patient, list[Remark]]:
    """Read the configuration: the file named, or the home's."""
    file = file or home.config_file
    config, found = None, []
    try:
        config = load(file)
        found += _secrets(config, home)
        if not any(remark.advice for remark in found):
            said = f"{len(config.model)} models, {len(config.node)} nodes named"
            found.append(ok(CHECK, str(file), said))
    except ConfigError as error:
        found.append(
            fault(
                CHECK,
                str(file),
                str(error).removeprefix(f"{file}: "),
                "write what the message asks for; nothing starts before that",
            )
        )
    return Patient(home=home, config=config, where=_where(home, file, config)), found


def _where(home: Home, file: Path, config: Config | None) -> Path | str | None:
    try:
        if config is not None:
            return config.ledger.where(home)
        return (ledger_config(file) if file.exists() else LedgerConfig()).where(home)
    except ConfigError:
        return None


def _secrets(config: Config, home: Home) -> list[Remark]:
    """Those that cannot be read, and files that others can."""
    found = []
    ways: list[tuple[str, Callable[[], object]]] = [
        ("[admin]", lambda: config.admin.key(home)),
        ("[ledger]", lambda: config.ledger.where(home)),
        *((f"node '{n.id}'", n.api_key) for n in config.node),
        *((f"node '{n.id}'", n.tls) for n in config.node),
    ]
    for where, read in ways:
        try:
            read()
        except ConfigError as error:
            found.append(
                fault(CHECK, where, str(error), "put the secret where the configuration says")
            )
    for path in _secret_files(config, home):
        if path.exists() and path.stat().st_mode & 0o007:
            found.append(
                warning(
                    CHECK,
                    str(path),
                    "every user of this machine can read or change this secret",
                    f"chmod 600 {path}, or 640 with the gateway's group; then make a new secret",
                )
            )
    return found


def _secret_files(config: Config, home: Home) -> list[Path]:
    redis, ray = config.redis, config.ray
    named = [
        config.admin.key_file or str(home.admin_key_file),
        config.ledger.url_file,
        redis.url_file if redis else None,
        ray.token_file if ray else None,
        config.solana.url_file,
        config.solana.authority_key_file,
        *(node.api_key_file for node in config.node),
        str(home.gateway_identity_file),
    ]
    return [Path(name) for name in named if name]
