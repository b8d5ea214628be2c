"""The trade-off between frames/s and resources: one network folded for several throughputs, as a table and a plot."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from fpga.build_cache import lock_folder, make_build_key
from fpga.finn_build import FinnBuildError, FinnRun, make_sweep_request, run_finn_sweep
from fpga.in_finn.network_report import SweptFolding
from fpga.reports import describe_utilisation, to_resources
from fpga.toolchain.external_finn import find_finn
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import FinnEnvironmentError
from fpga.toolchain.process_group import CommandStoppedError
from fpga.worker_process import EXIT_STOPPED, stop_on_signals
from storage.artifacts import ArtifactError, ArtifactStore, write_text_atomically
from storage.builds import load_builds
from storage.command_options import add_artifacts_option, add_finn_option, add_stage_option, add_storage_option
from storage.commands import make_parser, run_command
from storage.database import DatabaseError, open_existing_database
from storage.hardware_reports import Resources
from storage.records import BuildTarget, name_network

DEFAULT_TARGETS_FPS = (10_000, 25_000, 50_000, 100_000, 150_000, 190_000, 200_000)

DEFAULT_FOLDER = Path("runs/sweeps")

TIMEOUT_S = 1800


class SweepError(Exception):
    """There is no network to fold."""


@dataclass(frozen=True)
class SweepPoint:
    """The smallest folding that reaches one throughput, or that comes nearest."""

    target_fps: int
    throughput_fps: float
    latency_us: float
    layers_only: Resources
    with_fifos: Resources
    """With data width converters, too."""
    available: Resources | None
    bottleneck_layer: str

    @property
    def is_reached(self) -> bool:
        """Whether the folding is as fast as asked."""
        return self.throughput_fps >= self.target_fps


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m fpga.sweep`: 2 where there is no such network, 1 where FINN cannot fold it, 130 when stopped."""
    args = _parse_arguments(arguments)
    stop = stop_on_signals()
    try:
        model = find_model(args)
        finn = find_finn(args.finn, _print_progress, stop)
        targets = [BuildTarget(args.board, args.clock_period_ns, fps) for fps in sorted(set(args.targets))]
        points = sweep(finn, model, targets, args.out, stop)
    except CommandStoppedError:
        return EXIT_STOPPED
    except (ArtifactError, SweepError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 2
    except (FinnBuildError, FinnEnvironmentError) as error:
        print(error, file=sys.stderr)
        return 1
    title = f"{' '.join(Path(part).name for part in args.network)} on {args.board} at {args.clock_period_ns:g} ns"
    print(describe_points(points))
    page = write_page(args.out / "sweep.html", points, title)
    print(f"{describe_best(points)}; plot: {page}")
    return 0


def find_model(args: argparse.Namespace) -> Path:
    """The QONNX file that was named, or that of a promoted trial. Raises SweepError where there is none."""
    if len(args.network) == 1:
        model = Path(args.network[0])
    elif len(args.network) == 2 and args.network[1].isdigit():
        model = _find_promoted_model(args, args.network[0], int(args.network[1]))
    else:
        raise SweepError(f"the network is {' '.join(args.network)}; expected MODEL.onnx or STUDY TRIAL")
    if not model.is_file():
        raise SweepError(f"{model} does not exist; expected a QONNX file")
    return model


def _find_promoted_model(args: argparse.Namespace, study_name: str, trial_number: int) -> Path:
    """Of the trial's network that was promoted last, or of the given stage."""
    builds = load_builds(open_existing_database(args.storage), study_name)
    own = [build for build in builds if build.trial_number == trial_number and args.stage in (None, build.stage)]
    if not own:
        name = f"trial {trial_number}" if args.stage is None else name_network(trial_number, args.stage)
        raise SweepError(f"{name} of {study_name} was not promoted; python -m search.promote exports its network")
    return ArtifactStore(args.artifacts).path(own[-1].model)


def sweep(finn: Finn, model: Path, targets: Sequence[BuildTarget], folder: Path, stop: Event) -> list[SweepPoint]:
    """Folds the network for each target, which differ in frames/s alone.

    What FINN left lies in `folder`, by network, board and clock: there a second sweep folds without streamlining.
    Raises FinnBuildError, and CommandStoppedError once `stop` is set.
    """
    started = time.monotonic()
    key = make_build_key(model, replace(targets[0], target_fps=0), finn.identity)
    own = folder / key
    with lock_folder(own, stop, lambda: _print_progress("waits for another sweep of this network")) as lock:
        _print_progress(f"folding {model} for {len(targets)} throughputs; a minute where it is not streamlined yet")
        request = make_sweep_request(model.resolve(), targets, own.resolve())
        foldings = run_finn_sweep(finn, request, FinnRun(TIMEOUT_S, stop, lock))
    _print_progress(f"folded after {time.monotonic() - started:.0f} s")
    return [to_point(folding) for folding in foldings]


def to_point(folding: SweptFolding) -> SweepPoint:
    """The numbers of a folding that the table and the plot show."""
    report = folding.report
    return SweepPoint(
        folding.target_fps,
        report.throughput_fps,
        report.latency_us,
        layers_only=to_resources(report.layers_only),
        with_fifos=to_resources(report.with_fifos),
        available=to_resources(report.available),
        bottleneck_layer=report.bottleneck_layer,
    )


def describe_points(points: Sequence[SweepPoint]) -> str:
    """A Markdown table, one line per target."""
    lines = [
        "| asked, frames/s | reached | latency, us | LUT, layers only | LUT | BRAM18 | DSP | of the board | slowest |",
        "| --: | --: | --: | --: | --: | --: | --: | :-- | :-- |",
    ]
    for point in points:
        reached = f"{point.throughput_fps:,.0f}" + ("" if point.is_reached else " (**not reached**)")
        lines.append(
            f"| {point.target_fps:,} | {reached} | {point.latency_us:,.0f} | {point.layers_only.lut:,} | "
            f"{point.with_fifos.lut:,} | {point.with_fifos.bram_18k:,} | {point.with_fifos.dsp:,} | "
            f"{describe_utilisation(point.with_fifos, point.available)} | {point.bottleneck_layer} |"
        )
    return "\n".join(lines)


def describe_best(points: Sequence[SweepPoint]) -> str:
    """One line: how many targets are reached, and the highest throughput."""
    fastest = max(points, key=lambda point: point.throughput_fps)
    n_reached = sum(point.is_reached for point in points)
    return f"{n_reached} of {len(points)} targets reached, at most {fastest.throughput_fps:,.0f} frames/s"


def write_page(path: Path, points: Sequence[SweepPoint], title: str) -> Path:
    """LUT, DSP and BRAM against frames/s, as an HTML page that needs no network."""
    import plotly.graph_objects as go  # takes a second, which an error message should not

    speeds = [point.throughput_fps for point in points]
    curves = {
        "LUT, layers only": [point.layers_only.lut for point in points],
        "LUT, with FIFOs and width converters": [point.with_fifos.lut for point in points],
        "DSP": [point.with_fifos.dsp for point in points],
        "BRAM18": [point.with_fifos.bram_18k for point in points],
    }
    figure = go.Figure(
        [go.Scatter(x=speeds, y=values, name=name, mode="lines+markers") for name, values in curves.items()]
    )
    figure.update_layout(title=title, template="plotly_white", hovermode="x unified")
    figure.update_xaxes(title="frames/s, FINN's estimate", rangemode="tozero")
    figure.update_yaxes(title="taken of the FPGA, FINN's estimate", type="log")
    return write_text_atomically(path, figure.to_html(include_plotlyjs=True))


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m fpga.sweep", description="Folds one network for several throughputs, by FINN's estimates."
    )
    parser.add_argument(
        "network", nargs="+", metavar="MODEL.onnx|STUDY TRIAL", help="a QONNX file, or a promoted trial"
    )
    add_stage_option(parser, "the one that was promoted last")
    parser.add_argument("--board", default="ZCU111", help="as FINN names it (%(default)s)")
    parser.add_argument("--clock-period-ns", type=float, default=5.0, metavar="NS", help="(%(default)s)")
    parser.add_argument(
        "--targets", type=_parse_target, nargs="+", default=DEFAULT_TARGETS_FPS, metavar="FPS", help="frames/s"
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="folder (%(default)s)")
    add_storage_option(parser)
    add_artifacts_option(parser, "artifacts")
    add_finn_option(parser)
    args = parser.parse_args(arguments)
    if len(args.network) == 1 and args.stage is not None:
        parser.error(f"--stage is {args.stage}; expected none with a file, or STUDY TRIAL --stage N")
    return args


def _parse_target(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is {text}; expected frames/s, a whole number from 1")
    return int(text)


def _print_progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command(main)
