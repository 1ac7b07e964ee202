"""Files over a real socket, by the official SDK."""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
import openai
import pytest
from batch_lines import create, line, sdk, until_over
from served import Served, configuration, eventually, serve, stranger

from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio


def client_of(gateway: Served, key: str | None = None) -> openai.AsyncOpenAI:
    return sdk(gateway.base_url, key or gateway.secret)


async def test_files_are_uploaded_listed_read_and_deleted(tmp_path: Path) -> None:
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node])) as gateway,
        client_of(gateway) as client,
        client_of(gateway, stranger(gateway)) as other,
    ):
        contents = [b"x" * 300_000, "ä\n\r\n--x\r\n".encode() * 10, b"{}\n"]
        made = []
        for number, content in enumerate(contents):
            made.append(
                await client.files.create(
                    file=(f"{number}.jsonl", content),
                    purpose="batch",
                    expires_after={"anchor": "created_at", "seconds": 3600},
                )
            )
        for file, content in zip(made, contents, strict=True):
            assert (await client.files.content(file.id)).content == content
            assert await client.files.retrieve(file.id) == file
            assert file.bytes == len(content)
            assert file.expires_at == file.created_at + 3600
            with pytest.raises(openai.NotFoundError):
                await other.files.retrieve(file.id)
            with pytest.raises(openai.NotFoundError):
                await other.files.content(file.id)
            with pytest.raises(openai.NotFoundError):
                await other.files.delete(file.id)
        ids = [file.id for file in made]
        assert [file.id async for file in client.files.list(limit=2, order="asc")] == ids
        assert [file.id async for file in client.files.list(limit=1)] == ids[::-1]
        assert not (await other.files.list()).data
        assert (await client.files.delete(ids[0])).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.content(ids[0])
        assert sorted(path.name for path in (tmp_path / "files").iterdir()) == sorted(ids[1:])


async def test_a_file_may_be_larger_than_a_body_and_no_larger_than_files_may_be(
    tmp_path: Path,
) -> None:
    config = configuration([], server="body_bytes_max = 65536")
    files = msgspec.structs.replace(config.files, file_bytes_max=2_000_000)
    config = msgspec.structs.replace(config, files=files)
    async with serve(tmp_path, config) as gateway, client_of(gateway) as client:
        file = await client.files.create(file=("a", b"y" * 2_000_000), purpose="batch")
        assert (await client.files.content(file.id)).content == b"y" * 2_000_000
        for size in (2_000_001, 3_000_000):
            with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as refused:
                await client.files.create(file=("a", b"y" * size), purpose="batch")
            if isinstance(refused.value, openai.APIStatusError):
                assert refused.value.status_code == 413
        assert [path.name for path in (tmp_path / "files").iterdir()] == [file.id]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({}, "purpose"),
        ({"purpose": "batch", "colour": "red"}, "colour"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "expires_after"),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "5",
            },
            "expires_after[seconds]",
        ),
    ],
)
async def test_an_upload_that_makes_no_sense_leaves_nothing(
    fields: dict, param: str, tmp_path: Path
) -> None:
    async with serve(tmp_path, configuration([])) as gateway:
        answer = await gateway.client.post(
            "/v1/files", data=fields, files={"file": ("a.jsonl", b"{}")}
        )
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
        missing = await gateway.client.post("/v1/files", files={"purpose": (None, b"batch")})
        assert missing.json()["error"]["param"] == "file"
        no_form = await gateway.client.post("/v1/files", json={"purpose": "batch"})
        assert no_form.status_code == 400
        anonymous = await gateway.client.post(
            "/v1/files", files={"file": b"{}"}, headers={"authorization": "Bearer sk-no"}
        )
        assert anonymous.status_code == 401
        assert not list((tmp_path / "files").iterdir())


async def test_what_a_batch_reads_is_not_deleted(tmp_path: Path) -> None:
    slow = FakeNode(pace=Pace(ttft_ms=300))
    async with (
        slow as node,
        serve(tmp_path, configuration([node])) as gateway,
        client_of(gateway) as client,
    ):
        batch = await create(client, *(line(n, seed=n) for n in range(20)))
        with pytest.raises(openai.ConflictError, match=batch.id):
            await client.files.delete(batch.input_file_id)
        await client.batches.cancel(batch.id)
        await until_over(client, batch.id)
        assert (await client.files.delete(batch.input_file_id)).deleted


async def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_nothing(
    tmp_path: Path,
) -> None:
    async def half() -> object:
        yield (
            b"--b\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\n" + b"z" * 500_000
        )
        raise httpx.ReadError("gone")

    async with serve(tmp_path, configuration([])) as gateway:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        with pytest.raises(httpx.ReadError):
            await gateway.client.post("/v1/files", content=half(), headers=headers)
        await eventually(lambda: list((tmp_path / "files").iterdir()), lambda left: not left)
