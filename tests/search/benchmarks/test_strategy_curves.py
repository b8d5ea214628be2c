"""The plot and the section of a README that a replay writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.benchmarks.strategy_curves import SECTION, plot, write_section

CURVES = {"random": [[0.1, 0.2], [0.1, 0.3]], "ours: all": [[0.2, 0.3], [0.2, 0.4]]}


def test_section_alone_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{SECTION[0]}\nold\n{SECTION[1]}\nafter\n")
    write_section("new", readme)
    write_section("newer", readme)
    assert readme.read_text() == f"before\n{SECTION[0]}\nnewer\n{SECTION[1]}\nafter\n"
    readme.write_text("no section")
    with pytest.raises(ValueError, match="has no line"):
        write_section("new", readme)
    assert readme.read_text() == "no section"


def test_plot_is_a_picture(tmp_path: Path) -> None:
    plot(CURVES, [10, 20], {"random"}, "random", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"]
