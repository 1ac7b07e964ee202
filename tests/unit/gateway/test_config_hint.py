"""What a configuration's unknown key may have meant."""

from __future__ import annotations

import pytest

from gateway.config import ConfigError, parse

MODEL = """
[[model]]
id = "m"
context_tokens_max = 10
prompt_usd_per_million = "1"
completion_usd_per_million = "1"
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\ndrain_seconds = 3\n", "did you mean drain_s?"),
        ("[servers]\nport = 3\n", "did you mean server?"),
        ("leave_s = 3\n", "it belongs under [server]"),
        ('[[node]]\nid = "n"\nsuplier = "x"\n', "did you mean supplier?"),
        ("[spool]\nwake_wait_s = 3\n", "it belongs under [ray]"),
        ("[server]\nqqq = 3\n", "unknown field `qqq` - at `$.server`"),
    ],
)
def test_it_says_what_was_probably_meant(text, said):
    with pytest.raises(ConfigError) as error:
        parse(text + MODEL)
    assert str(error.value).endswith(said)
    assert "line " in str(error.value)
