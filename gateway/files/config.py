"""The `[files]` section: where uploaded files are, and how large they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from gateway.home import Home

_Positive = Annotated[int, msgspec.Meta(ge=1)]

FORM_BYTES_MAX = 64 * 1024
"""What an upload holds beside the file: names, boundaries, the other fields."""


class FilesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    folder: str | None = None
    """Without it, `files` in the home. Gateways on several machines need one that all see."""
    file_bytes_max: _Positive = 200 * 1024 * 1024
    """Of one uploaded file."""
    account_bytes_max: _Positive = 10 * 1024 * 1024 * 1024
    """Of all files that an account has at one time; what batches write is not refused by it."""

    def where(self, home: Home) -> Path:
        return home.files_folder if self.folder is None else Path(self.folder)

    @property
    def upload_bytes_max(self) -> int:
        """Of the body of a request that uploads a file."""
        return self.file_bytes_max + FORM_BYTES_MAX
