"""The module around a layer, and what tells layers apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from fpga.in_finn.rtl_layers import RtlLayer
from fpga.rtl.sources import RtlSourceError, copy_sources, hash_sources, list_ports, write_wrapper

LAYER = """\
/* module Other(input nothing); */
module {name} #(
	parameter  C = 2,	// Channels
	parameter  WIDTH = 12
)(
	(* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF in0_V:out0_V, ASSOCIATED_RESET ap_rst_n" *)
	input	ap_clk,
	input	ap_rst_n,
	input [$clog2(C) + 1:0]  s_axilite_AWADDR,	// lowest bits (byte selectors) are ignored
	output	s_axilite_AWREADY,
	output  in0_V_TREADY,
	input   in0_V_TVALID,
	input [((C*WIDTH+7)/8)*8-1:0]  in0_V_TDATA,
	input   out0_V_tready,
	output  out0_V_tvalid,
	output [7:0]  out0_V_tdata
);
	initial $readmemh("./{name}_threshs_0_0.dat", memory);
endmodule
"""


def make_layer(folder: Path, name: str = "Thresholding_rtl_0", thresholds: str = "03\n") -> RtlLayer:
    folder.mkdir()
    verilog, data = folder / f"{name}.v", folder / f"{name}_threshs_0_0.dat"
    verilog.write_text(LAYER.format(name=name))
    data.write_text(thresholds)
    return RtlLayer(name, "Thresholding_rtl", name, (verilog,), data_files=(data,), in_bits=24, out_bits=8)


def test_ports_are_read_with_widths_that_hold_brackets() -> None:
    ports = list_ports(LAYER.format(name="Layer"), "Layer")

    assert list(ports) == [
        "ap_clk",
        "ap_rst_n",
        "s_axilite_AWADDR",
        "s_axilite_AWREADY",
        "in0_V_TREADY",
        "in0_V_TVALID",
        "in0_V_TDATA",
        "out0_V_tready",
        "out0_V_tvalid",
        "out0_V_tdata",
    ]
    assert ports["s_axilite_AWADDR"] == ports["out0_V_tready"] == "input"
    assert ports["in0_V_TREADY"] == "output"


def test_unconnected_inputs_are_zero_and_streams_connected_in_either_case(tmp_path: Path) -> None:
    wrapper = write_wrapper(make_layer(tmp_path / "a"))

    assert "input [23:0] in_data" in wrapper
    assert ".s_axilite_AWADDR('0)" in wrapper
    assert ".s_axilite_AWREADY()" in wrapper
    assert ".in0_V_TDATA(in_data)" in wrapper
    assert ".out0_V_tready(out_ready)" in wrapper


def test_layer_without_a_stream_is_refused(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "a")
    layer.files[0].write_text(layer.files[0].read_text().replace("in0_V", "input_V"))

    with pytest.raises(RtlSourceError, match="has no ports in0_v_tdata, in0_v_tready, in0_v_tvalid; it has ap_clk"):
        write_wrapper(layer)


def test_layers_that_differ_in_their_name_alone_have_one_hash(tmp_path: Path) -> None:
    a = make_layer(tmp_path / "a")
    b = make_layer(tmp_path / "b", "Thresholding_rtl_7")
    other_thresholds = make_layer(tmp_path / "c", thresholds="04\n")

    assert hash_sources(a) == hash_sources(b)
    assert hash_sources(a) != hash_sources(other_thresholds)


def test_hash_does_not_depend_on_the_folder_that_a_memory_names(tmp_path: Path) -> None:
    layers = [make_layer(tmp_path / name) for name in ("a", "b")]
    for layer in layers:
        layer.files[0].write_text(f'parameter INIT_FILE = "{layer.files[0].parent}/memblock.dat"')

    assert hash_sources(layers[0]) == hash_sources(layers[1])


def test_missing_file_is_named(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "a")
    layer.data_files[0].unlink()

    with pytest.raises(RtlSourceError, match=r"the code of Thresholding_rtl_0 is not whole: .*_threshs_0_0\.dat"):
        copy_sources(layer, tmp_path / "copy")
