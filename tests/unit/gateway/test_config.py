"""The configuration file: what is refused, and that the message says where."""

from __future__ import annotations

import pytest

from gateway.config import ConfigError, load, parse
from metering.limits import UNLIMITED, Limits

MODEL = """
[[model]]
id = "m"
context_tokens_max = 4096
prompt_usd_per_million = "0.20"
completion_usd_per_million = "0.60"
"""
NODE = """
[[node]]
id = "n1"
supplier = "acme"
url = "http://127.0.0.1:9000/v1"
model = "m"
"""


def test_a_model_and_a_node_are_enough():
    config = parse(MODEL + NODE)
    price = config.model[0].tariff().list_price
    assert (price.prompt_nano_usd, price.cached_prompt_nano_usd) == (200, 200)
    assert price.completion_nano_usd == 600
    record = config.node[0].record()
    assert record.url == "http://127.0.0.1:9000"
    assert record.engine == "openai"


def test_a_tariff_with_everything():
    window = 'days = ["sat", "sun"]\nutc_from = "22:00"\nutc_until = "06:00"\n'
    (model,) = parse(
        MODEL + 'request_usd = "0.001"\nbatch_discount_ppm = 500000\n'
        f"[[model.off_peak]]\n{window}discount_ppm = 250000\n"
    ).model
    tariff = model.tariff()
    assert [price.version for price in tariff.all_prices()] == [
        "200/200/600/1000000",
        "100/100/300/500000~batch:500000",
        "150/150/450/750000~off-peak:250000",
    ]
    assert str(tariff.off_peak[0]) == "sat,sun 22:00-06:00 250000"


def test_limits_of_keys_that_have_none():
    assert parse(MODEL).limits.limits() == UNLIMITED
    limits = parse("[limits]\ntokens_per_minute = 1000\n" + MODEL).limits.limits()
    assert limits == Limits(tokens_per_minute=1000)


REFUSED = [
    ("", "no \\[\\[model\\]\\]"),
    ("[server]\nprot = 80\n" + MODEL, "line 2 .*prot"),
    ('[server]\nport = "80"\n' + MODEL, "line 2 .*port"),
    ("[server]\nport = 70000\n" + MODEL, "line 2"),
    ("[serer]\n" + MODEL, "line 1 .*serer"),
    ("[server\n" + MODEL, "not valid TOML"),
    (MODEL.replace('"0.20"', '"0.2000001"'), "prompt_usd_per_million"),
    (MODEL.replace('"0.20"', '"cheap"'), "prompt_usd_per_million"),
    (MODEL.replace('"0.20"', "0.20"), "prompt_usd_per_million"),
    ("[limits]\nrequests_per_minute = 0\n" + MODEL, "line 2"),
    ("[limits]\nrpm = 5\n" + MODEL, "line 2 .*rpm"),
    (MODEL + 'request_usd = "0.0000000001"\n', "'m': request_usd: .* 9 decimals"),
    (
        MODEL + 'completion_usd_per_million = "1000001"\n'.replace("completion", "cached_prompt"),
        "nano-USD a token is not within",
    ),
    (MODEL + "batch_discount_ppm = 1000001\n", "line 7 .*batch_discount_ppm"),
    (MODEL.replace("0.20", "0.001") + "batch_discount_ppm = 500000\n", "would be free"),
    (
        MODEL + '[[model.off_peak]]\nutc_from = "22:00"\nutc_until = "25:00"\ndiscount_ppm = 1\n',
        "'25:00' is no time of day",
    ),
    (
        MODEL + '[[model.off_peak]]\nutc_from = "22:00"\nuntil = "23:00"\ndiscount_ppm = 1\n',
        "line 9 .*until",
    ),
    (MODEL + MODEL, "configured twice"),
    (MODEL + NODE.replace('"m"', '"x"'), "no \\[\\[model\\]\\]"),
    (MODEL + NODE.replace("http://", "ftp://"), "url"),
    (MODEL + NODE.replace('"acme"', '"Acme Inc"'), "supplier_id"),
    (MODEL + NODE + NODE, "configured twice"),
    (MODEL + NODE + 'engine = "tgi"\n', "engine"),
    (MODEL + NODE + 'api_key = "secret"\n', "api_key"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_more_workers_than_one_want_redis():
    alone = parse(MODEL)
    assert alone.at(port=1).server == alone.at(port=1, workers=1).server
    with pytest.raises(ConfigError, match=r"2 workers but no \[redis\]"):
        alone.at(workers=2)
    with pytest.raises(ConfigError, match=r"3 workers but no \[redis\]"):
        parse("[server]\nworkers = 3\n" + MODEL)
    shared = parse('[redis]\nurl = "redis://127.0.0.1/1"\n' + MODEL)
    assert shared.at(workers=2).server.workers == 2


def test_the_address_of_redis_is_given_once_and_no_password_stands_in_the_file(
    tmp_path, monkeypatch
):
    def address(*lines):
        return parse("[redis]\n" + "\n".join(lines) + "\n" + MODEL).redis.address()

    assert address('url = "redis://host/1"') == "redis://host/1"
    monkeypatch.setenv("REDIS_URL", "redis://:secret@host/2")
    assert address('url_env = "REDIS_URL"') == "redis://:secret@host/2"
    file = tmp_path / "url"
    file.write_text("redis://:secret@host/3\n")
    assert address(f'url_file = "{file}"', 'when_away = "refuse"') == "redis://:secret@host/3"
    monkeypatch.delenv("REDIS_URL")
    for lines, message in [
        ((), "only one"),
        (('url = "redis://a"', 'url_env = "B"'), "only one"),
        (('url_env = "REDIS_URL"',), "REDIS_URL is empty"),
        (('url = "redis://:secret@host"',), "holds a password"),
        (('url = "redis://a"', 'when_away = "hope"'), "when_away"),
        (('address = "redis://a"',), "line 2 .*address"),
    ]:
        with pytest.raises(ConfigError, match=message):
            address(*lines)


def test_node_key_comes_from_environment_or_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_KEY", "sk-1")
    assert parse(MODEL + NODE + 'api_key_env = "NODE_KEY"\n').node[0].api_key() == "sk-1"
    monkeypatch.delenv("NODE_KEY")
    with pytest.raises(ConfigError, match="NODE_KEY"):
        parse(MODEL + NODE + 'api_key_env = "NODE_KEY"\n').node[0].api_key()
    secret = tmp_path / "key"
    secret.write_text("sk-2\n")
    assert parse(MODEL + NODE + f'api_key_file = "{secret}"\n').node[0].api_key() == "sk-2"
    secret.unlink()
    with pytest.raises(ConfigError, match="key"):
        parse(MODEL + NODE + f'api_key_file = "{secret}"\n').node[0].api_key()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")


def test_node_on_a_unix_socket_keeps_its_path():
    text = MODEL + NODE.replace("http://127.0.0.1:9000/v1", "unix:/run/node/v1")
    assert parse(text).node[0].record().url == "unix:/run/node/v1"
    with pytest.raises(ConfigError, match="unix:/"):
        parse(text.replace("unix:/run", "unix:run"))


def test_what_a_node_is_verified_against(tmp_path):
    assert parse(MODEL + NODE).node[0].tls() is None
    ca_file = tmp_path / "ca.pem"
    https = MODEL + NODE.replace("http:", "https:") + f'ca_file = "{ca_file}"\n'
    with pytest.raises(ConfigError, match="No such file"):
        parse(https).node[0].tls()
    ca_file.write_text("no certificate")
    with pytest.raises(ConfigError, match="no PEM certificates"):
        parse(https).node[0].tls()
    with pytest.raises(ConfigError, match="only for an https"):
        parse(https.replace("https:", "http:")).node[0].tls()
