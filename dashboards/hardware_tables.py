"""A trial's hardware as tables: the search's estimate beside its builds, and each build layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dashboards.metric_text import count_with_share
from dashboards.text_table import TextTable
from spaces.metrics import BRAM, DSP, LATENCY, LUT, THROUGHPUT
from storage.hardware_reports import BuildReport, HardwareEstimate, LayerReport, MeasuredHardware, Resources
from storage.records import Build
from storage.rtl_record import RtlLayerCheck

ROWS = (
    LUT.label,
    "FF",
    BRAM.label,
    "URAM",
    DSP.label,
    THROUGHPUT.label,
    LATENCY.label,
    "bottleneck layer",
    "worst slack",
    "largest clock",
    "power",
)
LAYERS_ONLY = "layers only"
CONNECTED = "with FIFOs and width converters"

REMARKS = (
    "In brackets: share of the board.",
    "The estimate knows the architecture, not its weights.",
    f"The estimate counts FIFOs and width converters. {LAYERS_ONLY.capitalize()} leaves them out.",
)
"""Notes on the columns of `hardware_table`."""


@dataclass(frozen=True)
class _Column:
    """Some of ROWS, from one source."""

    title: str
    cells: Mapping[str, str]


def hardware_table(estimate: HardwareEstimate | None, builds: Sequence[Build]) -> TextTable | None:
    """The estimate of the architecture beside the builds of the trained network; None where there is neither.

    Has only rows that some column fills. REMARKS explain the columns.
    """
    columns = [] if estimate is None else [_estimate_column(estimate)]
    for build in builds:
        columns += [] if build.report is None else _build_columns(f"build {build.build_id}", build.report)
    if not columns:
        return None
    known = [row for row in ROWS if any(row in column.cells for column in columns)]
    rows = tuple((row, *(column.cells.get(row, "") for column in columns)) for row in known)
    return TextTable(("hardware", *(column.title for column in columns)), rows)


def layer_table(report: BuildReport) -> TextTable | None:
    """Each layer in data order, the bottleneck marked, then totals; None where the report has no layers."""
    if not report.layers:
        return None
    header = ("layer", "PE", "SIMD", "cycles", LUT.title, BRAM.title, "URAM", DSP.title)
    rows = [_layer_row(layer, layer.name == report.bottleneck_layer) for layer in report.layers]
    marked = [index for index, layer in enumerate(report.layers) if layer.name == report.bottleneck_layer]
    return TextTable(header, (*rows, *_total_rows(report)), marked)


def cross_check_table(report: BuildReport) -> TextTable | None:
    """The open-source tools' numbers beside FINN's LUT, of each layer that they read; None where they read none."""
    checks = {} if report.rtl_check is None else {check.name: check for check in report.rtl_check.layers}
    rows = [_cross_check_row(layer, checks.get(layer.name)) for layer in report.layers]
    known = tuple(row for row in rows if any(row[2:]))
    header = ("cross-check", "FINN LUT", "Yosys LUT", "Yosys FF", "Yosys BRAM18", "Yosys DSP", "simulated RTL")
    return TextTable(header, known) if known else None


def _estimate_column(estimate: HardwareEstimate) -> _Column:
    resources = Resources(estimate.lut, estimate.bram_18k, estimate.uram, estimate.dsp)
    cells = {
        **_counts(resources, estimate.available),
        **_speed(estimate.throughput_fps, estimate.latency_us),
        "bottleneck layer": estimate.bottleneck_layer,
    }
    return _Column("estimate", cells)


def _build_columns(name: str, report: BuildReport) -> Iterator[_Column]:
    alone = _counts(report.layers_only, report.available if report.connected is None else None)
    whole = {
        **_speed(report.throughput_fps, report.latency_us),
        "bottleneck layer": f"{report.bottleneck_layer}, {report.bottleneck_cycles:,} cycles",
    }
    if report.connected is None:
        yield _Column(f"{name}, {LAYERS_ONLY}", {**alone, **whole})
    else:
        yield _Column(f"{name}, {LAYERS_ONLY}", alone)
        yield _Column(f"{name}, {CONNECTED}", {**_counts(report.connected, report.available), **whole})
    if report.measured is not None:
        yield from _measured_columns(name, report.measured, report.available)


def _measured_columns(name: str, measured: MeasuredHardware, available: Resources | None) -> Iterator[_Column]:
    core = {
        "worst slack": None if measured.core_slack_ns is None else f"{measured.core_slack_ns:g} ns",
        "largest clock": None if measured.core_fmax_mhz is None else f"{measured.core_fmax_mhz:.1f} MHz",
        "power": None if measured.core_power_w is None else f"{measured.core_power_w:.3g} W",
    }
    known = {row: cell for row, cell in core.items() if cell is not None}
    yield _Column(f"{name}, Vivado: core", {**_counts(measured.core, available), **known})
    if measured.fpga is not None:
        slack = {} if measured.fpga_slack_ns is None else {"worst slack": f"{measured.fpga_slack_ns:g} ns"}
        yield _Column(f"{name}, Vivado: FPGA", {**_counts(measured.fpga, available), **slack})


def _speed(throughput_fps: float, latency_us: float) -> dict[str, str]:
    return {THROUGHPUT.label: THROUGHPUT.text(throughput_fps), LATENCY.label: LATENCY.text(latency_us)}


def _counts(resources: Resources, available: Resources | None) -> dict[str, str]:
    board = available or Resources(0, 0, 0, 0)
    cells = {
        LUT.label: count_with_share(resources.lut, board.lut),
        BRAM.label: count_with_share(resources.bram_18k, board.bram_18k),
        "URAM": count_with_share(resources.uram, board.uram),
        DSP.label: count_with_share(resources.dsp, board.dsp),
    }
    return cells if resources.ff is None else {**cells, "FF": f"{resources.ff:,}"}


def _layer_row(layer: LayerReport, is_bottleneck: bool) -> tuple[str, ...]:
    name = f"{layer.name} (bottleneck)" if is_bottleneck else layer.name
    folding = ("" if parallel is None else str(parallel) for parallel in (layer.pe, layer.simd))
    counts = (layer.cycles, layer.lut, layer.bram_18k, layer.uram, layer.dsp)
    return (name, *folding, *(f"{count:,}" for count in counts))


def _cross_check_row(layer: LayerReport, check: RtlLayerCheck | None) -> tuple[str, ...]:
    found = layer.by_yosys
    counts = (None,) * 4 if found is None else (found.lut, found.ff, found.bram_18k, found.dsp)
    verdicts = {None: "", True: "equal", False: "differs"}
    verdict = verdicts[None if check is None else check.is_equal]
    return (layer.name, f"{layer.lut:,}", *("" if count is None else f"{count:,}" for count in counts), verdict)


def _total_rows(report: BuildReport) -> Iterator[tuple[str, ...]]:
    yield LAYERS_ONLY, "", "", "", *_without_ff(_counts(report.layers_only, None))
    if report.connected is not None:
        yield CONNECTED, "", "", "", *_without_ff(_counts(report.connected, report.available))


def _without_ff(cells: Mapping[str, str]) -> list[str]:
    return [cell for row, cell in cells.items() if row != "FF"]
