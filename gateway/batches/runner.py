"""One batch, from its validation to its files. Whoever is started anew goes on where it was."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec

from gateway.admission.catalogue import Catalogue
from gateway.batches import line as lines
from gateway.batches.batch import Batch, Status
from gateway.batches.batch_store import BatchStore
from gateway.batches.input import Judged, Problem, judged
from gateway.batches.input import lines as lines_of
from gateway.batches.line import LineError, read_request
from gateway.batches.line_run import LineRun, Means
from gateway.batches.line_store import LineStore
from gateway.batches.output import Outputs
from gateway.files.file_store import StoredFile
from gateway.files.folder import FileFolder
from gateway.openai.request import ENDPOINT_OF_PATH

log = logging.getLogger("tollgate")

LOST_LINE_S = 0.5
"""How often a batch whose last lines are another gateway's looks whether that came back."""


class Workshop:
    """What all batches of one gateway are run with."""

    def __init__(
        self,
        *,
        batches: BatchStore,
        line_store: LineStore,
        folder: FileFolder,
        means: Means,
        catalogue: Catalogue,
        holder: str,
        line_bytes_max: int,
        lines_max: int,
    ) -> None:
        self.batches = batches
        self.line_store = line_store
        self.folder = folder
        self.outputs = Outputs(line_store, folder)
        self.means = means
        self.catalogue = catalogue
        self.holder = holder
        self.line_bytes_max = line_bytes_max
        self.lines_max = lines_max


class BatchRunner:
    def __init__(self, shop: Workshop, batch: Batch) -> None:
        self.batch = batch
        self._shop = shop
        self._now_ns = shop.means.now_ns
        self._stopping = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], LineRun] = {}
        self._room = asyncio.Semaphore(shop.lines_max)
        self._not_before_s = 0.0

    async def run(self) -> None:
        """Until the batch is over or it was told to stop. Raises LeaseLostError, LedgerError and
        OSError.
        """
        try:
            if self.batch.status is Status.VALIDATING:
                await self._validate()
            if self.batch.status is Status.IN_PROGRESS:
                await self._work()
            if self.batch.status is Status.FINALIZING:
                await self._end(Status.FINALIZING, Status.COMPLETED, None)
            if self.batch.status is Status.CANCELLING:
                await self._end(Status.CANCELLING, Status.CANCELLED, lines.BATCH_CANCELLED)
        finally:
            await self._halt()

    def seen(self, batch: Batch) -> None:
        """As the database has it now: it may have been cancelled."""
        if batch.status is Status.CANCELLING and self.batch.status is not Status.CANCELLING:
            self.batch = batch
            self.stop()

    def stop(self) -> None:
        """Start nothing more, leave what is not answered; what is, is kept and charged."""
        self._stopping.set()
        for run in self._under_way.values():
            run.stop()

    # -- validating -------------------------------------------------------------------------------

    async def _validate(self) -> None:
        batch, shop = self.batch, self._shop
        try:
            file = await asyncio.to_thread(shop.folder.open, batch.input_file_id)
            found = await judged(file, batch.endpoint, shop.line_bytes_max, self._unsold)
        except FileNotFoundError:
            found = Judged(problems=[_gone(batch.input_file_id)])
        now_ns = self._now_ns()
        if found.problems:
            told = msgspec.json.encode({"object": "list", "data": found.problems}).decode()
            await self._advance(
                Status.VALIDATING, status=Status.FAILED, failed_ns=now_ns, errors=told
            )
        else:
            await self._advance(
                Status.VALIDATING,
                status=Status.IN_PROGRESS,
                in_progress_ns=now_ns,
                total=found.lines,
                model=found.model,
            )

    def _unsold(self, model_id: str) -> str | None:
        model = self._shop.catalogue.get(model_id)
        if model is None:
            return f"The model '{model_id[:100]}' does not exist. GET /v1/models lists those here."
        if ENDPOINT_OF_PATH[self.batch.endpoint] not in model.config.kinds:
            return f"The model '{model_id}' does not serve {self.batch.endpoint}."
        return None

    async def _advance(
        self, expected: Status, files: Sequence[StoredFile] = (), **changes: object
    ) -> None:
        """Unless it is in another state by now, which it then goes on from."""
        shop, batch_id = self._shop, self.batch.batch_id
        self.batch = await asyncio.to_thread(
            lambda: shop.batches.advance(shop.holder, batch_id, expected, files, **changes)
        )

    # -- the lines --------------------------------------------------------------------------------

    async def _work(self) -> None:
        batch, shop = self.batch, self._shop
        expiring = asyncio.get_running_loop().call_later(
            max(0.0, (batch.expires_ns - self._now_ns()) / 1e9), self.stop
        )
        try:
            answered = await asyncio.to_thread(shop.line_store.numbers, batch.batch_id)
            await self._start_lines(answered)
            while self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                self._reap()
            await shop.means.writer.written()
            while not self._stopping.is_set() and await self._unsettled():
                await self._idle(LOST_LINE_S)
        finally:
            expiring.cancel()
        if self.batch.status is not Status.IN_PROGRESS:
            return  # it was cancelled
        if self._now_ns() >= batch.expires_ns:
            await self._end(Status.IN_PROGRESS, Status.EXPIRED, lines.BATCH_EXPIRED)
        elif not self._stopping.is_set():
            await self._advance(
                Status.IN_PROGRESS, status=Status.FINALIZING, finalizing_ns=self._now_ns()
            )

    async def _start_lines(self, answered: set[int]) -> None:
        batch, shop = self.batch, self._shop
        model = batch.model
        assert model is not None, batch.batch_id
        file = await asyncio.to_thread(shop.folder.open, batch.input_file_id)
        async for number, raw in lines_of(file, shop.line_bytes_max):
            if self._stopping.is_set():
                return
            if number in answered:
                continue
            await self._room.acquire()
            self._reap()
            while (wait_s := self._not_before_s - time.monotonic()) > 0:
                await self._idle(wait_s)
            run = LineRun(
                shop.means, batch, number, read_request(raw), model, self._stopping, self._pause
            )
            task = asyncio.create_task(run.run())
            task.add_done_callback(lambda _: self._room.release())
            self._under_way[task] = run

    def _reap(self) -> None:
        """Raises what a line raised."""
        for task in [task for task in self._under_way if task.done()]:
            del self._under_way[task]
            task.result()

    def _pause(self, seconds: float) -> None:
        self._not_before_s = max(self._not_before_s, time.monotonic() + seconds)

    async def _idle(self, seconds: float) -> None:
        """Or until it is stopped."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        self._not_before_s = 0.0

    async def _unsettled(self) -> int:
        return await asyncio.to_thread(self._shop.line_store.unsettled, self.batch.batch_id)

    async def _halt(self) -> None:
        self.stop()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()

    # -- the end ----------------------------------------------------------------------------------

    async def _end(self, expected: Status, status: Status, unrun_code: str | None) -> None:
        """Write the files. It may be done again, by whoever comes next: to the same end."""
        await self._halt()
        shop, batch = self._shop, self.batch
        await shop.means.writer.written()
        await asyncio.to_thread(shop.line_store.finish_all, batch.batch_id)
        unrun = [] if unrun_code is None else await self._unrun(unrun_code)
        now_ns = self._now_ns()
        answers, failures = await asyncio.to_thread(shop.outputs.write, batch, unrun, now_ns)
        await self._advance(
            expected,
            [file for file in (answers, failures) if file is not None],
            status=status,
            output_file_id=answers and answers.file_id,
            error_file_id=failures and failures.file_id,
            **{f"{status}_ns": now_ns},
        )

    async def _unrun(self, code: str) -> list[bytes]:
        """Lines that the batch did not come to."""
        batch, shop = self.batch, self._shop
        if not batch.total:
            return []
        answered = await asyncio.to_thread(shop.line_store.numbers, batch.batch_id)
        told: list[bytes] = []
        try:
            file = await asyncio.to_thread(shop.folder.open, batch.input_file_id)
            async for number, raw in lines_of(file, shop.line_bytes_max):
                if number not in answered:
                    custom_id = read_request(raw).custom_id
                    told.append(lines.unrun(batch.batch_id, number, custom_id, code))
        except (FileNotFoundError, LineError) as error:
            log.warning("%s: lines that did not run are not told: %s", batch.batch_id, error)
        return told


def _gone(file_id: str) -> Problem:
    message = f"The file '{file_id}' is not in this gateway's files folder."
    return Problem(code="file_not_found", message=message, param="input_file_id", line=None)
