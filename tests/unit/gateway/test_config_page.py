"""docs/configuration.md says every key of the TOML, as the code has it now."""

from __future__ import annotations

import re

from config_page import PAGE, page

from gateway.config import Config


def test_it_is_what_the_code_says():
    assert PAGE.read_text() == page(), "`make config-page` makes it anew"


def test_every_section_is_there_and_every_key_has_words():
    sections = re.findall(r"^## `\[+(\w+)\]+`$", page(), re.MULTILINE)
    assert sections == list(Config.__struct_fields__)
    rows = re.findall(r"^\| \**`(\w+)`\** \| (.+) \| .*\| (.*) \|$", page(), re.MULTILINE)
    assert len(rows) > 150
    assert [key for key, kind, words in rows if not kind or not words] == []
