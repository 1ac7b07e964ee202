"""Sources over real HTTP and real files: each fails alone, none holds the others up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from gateway.cli import main
from ide.price_sources import OracleConfig, PriceSource, read_quotes

NOW_NS = 1_700_000_000_000_000_000


class _Exchange(BaseHTTPRequestHandler):
    released = threading.Event()

    def do_GET(self) -> None:
        body = b'{"data": [{"price": "0.160000000123"}], "at": 1699999990.5}'
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/slow":
            self.wfile.write(b"{")
            self.wfile.flush()
            self.released.wait(30)
        elif self.path == "/page":
            self.wfile.write(b"<html>no price here</html>")
        elif self.path == "/deep":
            self.wfile.write(b"[" * 200_000)
        elif self.path == "/endless":
            self.wfile.write(b" " * (2 << 20))
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def exchange() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Exchange)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _Exchange.released.clear()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        _Exchange.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def source(name: str, at: str, price_at: str = "data.0.price", **fields: object) -> PriceSource:
    where = {"url": at} if at.startswith("http") else {"file": at}
    return msgspec.convert({"name": name, "price_at": price_at, **where, **fields}, PriceSource)


def test_each_source_fails_alone(exchange: str, tmp_path: Path) -> None:
    file = tmp_path / "price.json"
    file.write_text('{"io": 0.17}')
    sources = [
        source("http", f"{exchange}/good"),
        source("file", str(file), "io"),
        source("missing", f"{exchange}/missing"),
        source("slow", f"{exchange}/slow", timeout_s=1),
        source("page", f"{exchange}/page"),
        source("deep", f"{exchange}/deep"),
        source("endless", f"{exchange}/endless"),
        source("elsewhere", f"{exchange}/good", "data.1.price"),
        source("no file", str(tmp_path / "none.json")),
        source("no server", "http://127.0.0.1:9/"),
    ]
    started = time.monotonic()
    quotes, failures = read_quotes(sources, NOW_NS)
    assert time.monotonic() - started < 20
    assert {quote.source: quote.price_nano_usd for quote in quotes} == {
        "http": 160_000_000,
        "file": 170_000_000,
    }
    assert {failure.source for failure in failures} == {row.name for row in sources[2:]}
    problems = {failure.source: failure.problem for failure in failures}
    assert "404" in problems["missing"]
    assert "timed out" in problems["slow"]
    assert "there is no 'data.1.price'" in problems["elsewhere"]


def test_a_source_that_says_when(exchange: str) -> None:
    quotes, _ = read_quotes([source("http", f"{exchange}/good", at_s="at")], NOW_NS)
    assert quotes[0].at_ns == 1_699_999_990_500_000_000


@pytest.mark.parametrize(
    "value", ['"-0.16"', '"abc"', "true", "null", "[]", "NaN", "1e40", '"inf"']
)
def test_what_is_no_price(value: str, tmp_path: Path) -> None:
    file = tmp_path / "price.json"
    file.write_text(f'{{"io": {value}}}')
    quotes, (failure,) = read_quotes([source("file", str(file), "io")], NOW_NS)
    assert not quotes
    assert "no " in failure.problem


def test_the_command_says_what_they_agree_on(tmp_path: Path) -> None:
    for name, price in (("a", "0.16"), ("b", "0.18"), ("c", "9")):
        (tmp_path / f"{name}.json").write_text(f'{{"io": {price}}}')
    config = tmp_path / "oracle.toml"
    config.write_text(
        "".join(
            f'[[sources]]\nname = "{name}"\nfile = "{tmp_path}/{name}.json"\nprice_at = "io"\n'
            for name in "abc"
        )
    )
    result = CliRunner().invoke(main, ["oracle", "--config", str(config), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["price_nano_usd"] == 180_000_000
    text = config.read_text().replace("[[sources]]", "[[oracle.sources]]")
    (tmp_path / "tollgate.toml").write_text(text)
    result = CliRunner().invoke(main, ["oracle", "--home", str(tmp_path)])
    assert "Price: 0.18 USD" in result.output
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.json").unlink()
    result = CliRunner().invoke(main, ["oracle", "--config", str(config)])
    assert result.exit_code == 1
    assert "No price: it takes 2 fresh sources" in result.output


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([{"name": "a", "price_at": "x"}], "give either url or file"),
        ([{"name": "a", "price_at": "x", "url": "ftp://x"}], "must start with http"),
        ([{"name": "a", "price_at": "x", "file": "f"}] * 2, "two price sources have one name"),
        ([{"name": "a", "price_at": "x", "file": "f"}], "there would never be a price"),
    ],
)
def test_a_config_that_cannot_be(sources: list[dict[str, str]], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({"sources": sources}, OracleConfig)
