"""The files that a batch leaves: written from its lines, always to the same ids and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from gateway.batches.batch import Batch
from gateway.batches.line_store import LineStore
from gateway.files.file_store import PURPOSE_OUTPUT, StoredFile
from gateway.files.folder import FileFolder

EXPIRES_S = 30 * 24 * 3600


class Outputs:
    """All methods block. Raises LedgerError and OSError."""

    def __init__(self, lines: LineStore, folder: FileFolder) -> None:
        self._lines = lines
        self._folder = folder

    def write(
        self, batch: Batch, unrun: list[bytes], now_ns: int
    ) -> tuple[StoredFile | None, StoredFile | None]:
        """The file of answers and that of errors, which ends with `unrun`; None instead of an
        empty one.
        """
        answers = self._write(batch, "output", self._of_state(batch, "done"), now_ns)
        failures = self._of_state(batch, "failed")
        return answers, self._write(batch, "error", failures, now_ns, unrun)

    def _of_state(self, batch: Batch, state: str) -> Iterator[bytes]:
        after_line = 0
        while page := self._lines.outputs(batch.batch_id, state, after_line):
            after_line = page[-1][0]
            for _, output in page:
                yield output

    def _write(
        self,
        batch: Batch,
        kind: str,
        lines: Iterator[bytes],
        now_ns: int,
        more: list[bytes] | None = None,
    ) -> StoredFile | None:
        incoming = self._folder.begin()
        file_id = file_id_of(batch.batch_id, kind)
        try:
            for line in lines:
                incoming.write(line)
            for line in more or ():
                incoming.write(line)
            size = incoming.bytes
            if size:
                incoming.keep(file_id)
        finally:
            incoming.discard()
        if not size:
            return None
        seconds = EXPIRES_S if batch.output_expires_s is None else batch.output_expires_s
        return StoredFile(
            file_id=file_id,
            account=batch.account,
            purpose=PURPOSE_OUTPUT,
            filename=f"{batch.batch_id}_{kind}.jsonl",
            bytes=size,
            created_ns=now_ns,
            expires_ns=now_ns + seconds * 10**9,
        )


def file_id_of(batch_id: str, kind: str) -> str:
    return "file-" + hashlib.sha256(f"{batch_id}:{kind}".encode()).hexdigest()[:24]
