"""What has to be written differently in FINN's RTL for open-source tools to take it; made on copies, one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Tool(Enum):
    """Who reads the edited text."""

    YOSYS = "Yosys"
    VERILATOR = "Verilator"


class RtlEditError(Exception):
    """A text that is to be replaced is not there: FINN's version has another one."""


@dataclass(frozen=True)
class RtlEdit:
    """One replacement in one file of FINN's library."""

    file: str
    old: str
    """Must occur exactly once."""
    new: str
    reason: str
    """What it does, and why it changes nothing that the layer computes."""
    tools: Collection[Tool]


LEAF_LOADS = """\
		typedef int unsigned  leaf_load_t[2*N-1];
		function leaf_load_t init_leaf_loads();
			automatic leaf_load_t  res;
			for(int unsigned  i = 2*N-1; i-- > N-1;)  res[i] = 1;
			for(int unsigned  i =   N-1; i-- >   0;)  res[i] = res[2*i+1] + res[2*i+2];
			return  res;
		endfunction : init_leaf_loads
"""

WATCHDOG = """\
		logic  Dirty = 1;
		initial begin
			#100ns;
			Dirty <= 0;
		end
"""

EDITS = (
    RtlEdit(
        "thresholding.sv",
        "p.ptr[M-1:SN+1] < 2**stage - SCOPE_REDUCE",
        "(p.ptr[M-1:0] >> (SN+1)) < 2**stage - SCOPE_REDUCE",
        "a shift in place of a slice that is empty in the first stage, where the comparison is not used",
        (Tool.YOSYS,),
    ),
    RtlEdit(
        "add_multi.sv",
        LEAF_LOADS,
        "",
        "a constant function taken out of its generate block, first half",
        (Tool.YOSYS, Tool.VERILATOR),
    ),
    RtlEdit(
        "add_multi.sv",
        "\tuwire [SUM_WIDTH-1:0]  sum0;\n",
        LEAF_LOADS + "\tuwire [SUM_WIDTH-1:0]  sum0;\n",
        "the same function in front of the generate block, second half",
        (Tool.YOSYS, Tool.VERILATOR),
    ),
    RtlEdit(
        "mvu.sv",
        "always_ff @(posedge clk iff en && !rst) begin",
        "always_ff @(posedge clk) if(en && !rst) begin",
        "a condition inside of a clocked assertion in place of beside its clock",
        (Tool.VERILATOR,),
    ),
    RtlEdit(
        "mvu.sv",
        WATCHDOG,
        "\t\tlocalparam bit  Dirty = 0;\n",
        "no delay of 100 ns after power-up, of which only a warning of simulation depends",
        (Tool.YOSYS, Tool.VERILATOR),
    ),
    RtlEdit(
        "memstream.sv",
        "if(Rs3)  OSrl <= { Dat3, OSrl[0:FULL_CREDIT-3] };",
        "if(Rs3) begin OSrl[0] <= Dat3; for(int unsigned  i = 1; i < FULL_CREDIT-1; i++) OSrl[i] <= OSrl[i-1]; end",
        "a shift register written entry by entry in place of as a whole",
        (Tool.VERILATOR,),
    ),
    RtlEdit(
        "mvu_vvu_axi.sv",
        "if(ovld)  OBuf <= { odat, OBuf[0:MAX_IN_FLIGHT-1] };",
        "if(ovld) begin OBuf[0] <= odat; for(int unsigned  i = 1; i <= MAX_IN_FLIGHT; i++) OBuf[i] <= OBuf[i-1]; end",
        "a shift register written entry by entry in place of as a whole",
        (Tool.VERILATOR,),
    ),
    *(
        RtlEdit(
            file,
            f"typedef struct {{\n\t\tlogic  vld;\n\t\tlogic [{width}",
            f"typedef struct packed {{\n\t\tlogic  vld;\n\t\tlogic [{width}",
            "a packed struct: of the other kind, Verilator 5.006 writes C++ that does not compile",
            (Tool.VERILATOR,),
        )
        for file, width in (
            ("fmpadding.sv", "STREAM_BITS-1:0]"),
            ("axilite.sv", "IP_ADDR_WIDTH+WSEL_BITS-1:0]"),
            ("axilite.sv", "DATA_WIDTH-1:0]"),
        )
    ),
)


def apply_edits(files: Sequence[Path], tool: Tool) -> tuple[str, ...]:
    """Edits these files in place for one tool; the names of those that it changed. Raises RtlEditError."""
    edited = []
    for path in files:
        edits = [edit for edit in EDITS if edit.file == path.name and tool in edit.tools]
        if edits:
            path.write_text(edit_text(path.read_text(), edits))
            edited.append(path.name)
    return tuple(edited)


def edit_text(text: str, edits: Sequence[RtlEdit]) -> str:
    """The text with all edits made, in order. Raises RtlEditError where a text is not there exactly once."""
    for edit in edits:
        if (n_found := text.count(edit.old)) != 1:
            raise RtlEditError(
                f"{edit.file} has the text to replace {n_found} times; expected once ({edit.reason}): {edit.old!r}"
            )
        text = text.replace(edit.old, edit.new)
    return text
