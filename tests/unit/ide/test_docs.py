from __future__ import annotations

from pathlib import Path

from ide.params import IdeParams, parameter_table

PAGE = Path(__file__).parents[3] / "docs" / "ide.md"
BEGIN, END = "<!-- parameters -->\n", "<!-- end of parameters -->"


def test_the_parameter_table_of_the_page_is_that_of_the_code() -> None:
    head = "| parameter | default | mark | why |\n|---|---|---|---|\n"
    rows = "".join(
        f"| `{row.name}` | {row.value} | {row.mark} | {row.reason} |\n"
        for row in parameter_table(IdeParams())
    )
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == head + rows, f"put this between the marks of {PAGE.name}:\n{head}{rows}"
