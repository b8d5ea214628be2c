"""Plain text and tables, as Markdown for Optuna dashboard or as HTML for a page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

_MARKUP = re.compile(r"([\\`*\[\]<>|~#]|(?<!\w)_|_(?!\w))")
"""Characters that Markdown may take as markup. An underscore within a word is none."""

COLUMN_GAP = "\N{NO-BREAK SPACE}" * 3

TEMPLATES = Environment(
    autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
)
_TABLE = TEMPLATES.from_string("""\
<div class="wide" tabindex="0"><table>
<tr>{% for cell in table.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr{% if loop.index0 in table.marked %} class="marked"{% endif %}>
{%- for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>""")


@dataclass(frozen=True)
class TextTable:
    """Cells of plain text; each row has as many as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: Collection[int] = ()
    """Indices of rows that stand out."""


def table_as_markdown(table: TextTable) -> str:
    """As `markdown_table`. The first cell of a marked row is bold."""
    rows = [
        (f"**{row[0]}**", *row[1:]) if index in table.marked else row
        for index, row in enumerate([tuple(map(plain_markdown, row)) for row in table.rows])
    ]
    return markdown_table(table.header, rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is left-aligned, the others right-aligned. Cells must have no line breaks and no |."""
    lines = [_table_line(header), "| :-- |" + " --: |" * (len(header) - 1), *(_table_line(row) for row in rows)]
    return "\n".join(lines)


def plain_markdown(text: str) -> str:
    """One line of text, shown as it is whatever Markdown it may look like."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def table_as_html(table: TextTable) -> Markup:
    """An HTML table that scrolls sideways. Marked rows have the class `marked`."""
    return Markup(_TABLE.render(table=table))


def _table_line(cells: Sequence[str]) -> str:
    """Adds gaps between the cells, for Optuna dashboard draws none."""
    return f"| {' | '.join([cells[0], *(COLUMN_GAP + cell for cell in cells[1:])])} |"
