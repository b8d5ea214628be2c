"""Each edit is made, or says loudly that FINN's text is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fpga.rtl.edits import EDITS, RtlEdit, RtlEditError, Tool, apply_edits, edit_text
from fpga.toolchain.finn import Finn

EDIT = RtlEdit("a.sv", "posedge clk iff en", "posedge clk", "a reason", (Tool.YOSYS,))


def test_text_is_replaced() -> None:
    assert edit_text("always @(posedge clk iff en)", [EDIT]) == "always @(posedge clk)"


@pytest.mark.parametrize(("text", "n_found"), [("always @(posedge clk)", 0), ("posedge clk iff en " * 2, 2)])
def test_text_that_is_not_there_once_is_an_error(text: str, n_found: int) -> None:
    with pytest.raises(
        RtlEditError, match=rf"a\.sv has the text to replace {n_found} times; expected once \(a reason\)"
    ):
        edit_text(text, [EDIT])


def test_files_without_an_edit_for_the_tool_stay_as_they_are(tmp_path: Path) -> None:
    text = "if(Rs3)  OSrl <= { Dat3, OSrl[0:FULL_CREDIT-3] };"
    memory, other = tmp_path / "memstream.sv", tmp_path / "other.sv"
    for path in (memory, other):
        path.write_text(text)

    assert apply_edits([memory, other], Tool.YOSYS) == ()
    assert (memory.read_text(), other.read_text()) == (text, text)
    assert apply_edits([memory, other], Tool.VERILATOR) == ("memstream.sv",)
    assert memory.read_text().startswith("if(Rs3) begin OSrl[0] <= Dat3;")
    assert other.read_text() == text


@pytest.mark.slow
@pytest.mark.parametrize("tool", list(Tool))
def test_all_edits_fit_the_library_of_the_pinned_finn(finn: Finn, tmp_path: Path, tool: Tool) -> None:
    library = next(finn.folder.glob("lib/python*/site-packages/finn/finn-rtllib"))
    names = {edit.file for edit in EDITS if tool in edit.tools}
    files = [tmp_path / name for name in sorted(names)]
    for file in files:
        (original,) = library.rglob(file.name)
        file.write_text(original.read_text())

    assert set(apply_edits(files, tool)) == names
