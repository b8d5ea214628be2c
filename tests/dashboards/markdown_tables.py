"""The tables in a note's Markdown, read back."""

from __future__ import annotations


def table_rows(note: str) -> list[list[str]]:
    """The cells of all rows of all tables, headers included, without spaces around them."""
    lines = [line for line in note.splitlines() if line.startswith("|")]
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
