"""The parameters of epochs as a file has them."""

from __future__ import annotations

from pathlib import Path

from ide.params import IdeParams, ParamsError, params_from_toml


def params_of_file(file: Path) -> IdeParams:
    """The defaults, if there is no such file. Raises ParamsError."""
    try:
        return params_from_toml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return IdeParams()
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"IDE parameters: {file} cannot be read: {error}") from error
