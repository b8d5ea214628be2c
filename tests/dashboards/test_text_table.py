"""Plain text and tables, as Markdown and as HTML."""

from __future__ import annotations

import pytest

from dashboards.text_table import TextTable, markdown_table, plain_markdown, table_as_html, table_as_markdown

TABLE = TextTable(("layer", "LUT"), (("a|b", "1"), ("<b>", "2")), marked=[1])


def test_tables_have_one_cell_per_column_in_each_line() -> None:
    lines = markdown_table(["a", "b"], [["1", ""], ["", "2"]]).splitlines()

    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


def test_cells_of_markdown_are_no_markup_and_marked_rows_are_bold() -> None:
    lines = table_as_markdown(TABLE).splitlines()

    assert lines[2].startswith(r"| a\|b | ")
    assert lines[3].startswith(r"| **\<b\>** | ")


def test_cells_of_html_are_no_markup_and_marked_rows_have_a_class() -> None:
    page = table_as_html(TABLE)

    assert "<tr><td>a|b</td><td>1</td></tr>" in page
    assert '<tr class="marked"><td>&lt;b&gt;</td><td>2</td></tr>' in page


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("MVAU_hls_2 at 5 ns", "MVAU_hls_2 at 5 ns"),
        ("_x_ *y* `z`", r"\_x\_ \*y\* \`z\`"),
        ("two\nlines", "two lines"),
        ("[a](b) <img> # 1", r"\[a\](b) \<img\> \# 1"),
    ],
)
def test_text_that_looks_like_markdown_is_shown_as_it_is(text: str, markdown: str) -> None:
    assert plain_markdown(text) == markdown
