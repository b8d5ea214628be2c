"""Hardware figures as tables: the estimate that the search used beside the builds, and a build layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from dashboards.figure_text import count_with_share
from dashboards.text_table import TextTable
from storage.records import Build, BuildReport, HardwareEstimate, LayerReport, Resources

FIGURES = ("LUT", "BRAM (18 Kb)", "URAM", "DSP", "throughput", "latency", "bottleneck layer")
CONNECTED = "with width converters and FIFOs"


@dataclass(frozen=True)
class _Column:
    """One cell for each of FIGURES."""

    title: str
    resources: Sequence[str]
    speed: Sequence[str]
    bottleneck: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (*self.resources, *self.speed, self.bottleneck)


def hardware_table(estimate: HardwareEstimate | None, builds: Sequence[Build]) -> TextTable | None:
    """The estimate of the architecture beside the builds of the trained network; None where there is neither.

    In brackets the share of the board, where FINN knows the board.
    """
    columns = [] if estimate is None else [_estimate_column(estimate)]
    columns += [column for build in builds if build.report is not None for column in _columns(build, build.report)]
    if not columns:
        return None
    rows = tuple(zip(FIGURES, *(column.cells for column in columns), strict=True))
    return TextTable(("hardware", *(column.title for column in columns)), rows)


def total_resources(report: BuildReport) -> Resources:
    """With width converters and FIFOs; of the layers alone in a report of before 2026-11-20."""
    return report.connected or _layer_resources(report)


def layer_table(report: BuildReport) -> TextTable | None:
    """One row for each layer in the order of the data, the bottleneck marked, then totals; None without layers."""
    if not report.layers:
        return None
    totals: list[tuple[str, Resources, Resources | None]] = [("all layers", _layer_resources(report), None)]
    if report.connected is not None:
        totals.append((CONNECTED, report.connected, report.available))
    return TextTable(
        ("layer", "PE", "SIMD", "cycles", "LUT", "BRAM18", "URAM", "DSP"),
        (
            *(_layer_row(layer, is_bottleneck=layer.name == report.bottleneck_layer) for layer in report.layers),
            *((name, "", "", "", *_counts(resources, available)) for name, resources, available in totals),
        ),
        marked=[index for index, layer in enumerate(report.layers) if layer.name == report.bottleneck_layer],
    )


def _estimate_column(estimate: HardwareEstimate) -> _Column:
    resources = Resources(estimate.lut, estimate.bram_18k, estimate.uram, estimate.dsp)
    return _Column(
        "estimate before training",
        _counts(resources, estimate.available),
        _speed(estimate.throughput_fps, estimate.latency_us),
        estimate.bottleneck_layer,
    )


def _columns(build: Build, report: BuildReport) -> list[_Column]:
    name = f"build {build.build_id}"
    speed = _speed(report.throughput_fps, report.latency_us)
    bottleneck = f"{report.bottleneck_layer}, {report.bottleneck_cycles:,} cycles"
    alone = _layer_resources(report)
    if report.connected is None:
        return [_Column(f"{name}, layers alone", _counts(alone, report.available), speed, bottleneck)]
    return [
        _Column(f"{name}, layers alone", _counts(alone, None), ("", ""), ""),
        _Column(f"{name}, {CONNECTED}", _counts(report.connected, report.available), speed, bottleneck),
    ]


def _layer_resources(report: BuildReport) -> Resources:
    return Resources(report.lut, report.bram_18k, report.uram, report.dsp)


def _speed(throughput_fps: float, latency_us: float) -> tuple[str, str]:
    return f"{throughput_fps:,.0f} frames/s", f"{latency_us:,.1f} µs"


def _counts(resources: Resources, available: Resources | None) -> tuple[str, ...]:
    boards = (None,) * 4 if available is None else astuple(available)[:4]
    counts = (resources.lut, resources.bram_18k, resources.uram, resources.dsp)
    return tuple(map(count_with_share, counts, boards))


def _layer_row(layer: LayerReport, *, is_bottleneck: bool) -> tuple[str, ...]:
    name = f"{layer.name} (bottleneck)" if is_bottleneck else layer.name
    folding = ("" if parallel is None else str(parallel) for parallel in (layer.pe, layer.simd))
    counts = (layer.cycles, layer.lut, layer.bram_18k, layer.uram, layer.dsp)
    return (name, *folding, *(f"{count:,}" for count in counts))
