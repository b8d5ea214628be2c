"""A cross-check of a build's generated RTL by open-source tools, layer by layer; its command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fpga.claim_lease import Attempt
from fpga.rtl.build_check import CheckedBuild, RtlCheckError, check_build
from fpga.rtl.tools import CheckRun
from fpga.toolchain.external_finn import find_finn
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import FinnEnvironmentError
from fpga.toolchain.process_group import CommandStoppedError
from fpga.worker_process import EXIT_STOPPED, print_event, stop_on_signals
from storage.artifacts import ArtifactError, ArtifactStore
from storage.builds import load_builds, record_rtl_check
from storage.command_options import add_artifacts_option, add_finn_option, add_stage_option, add_storage_option
from storage.commands import make_parser, run_command
from storage.database import Database, DatabaseError, open_existing_database
from storage.hardware_reports import Resources
from storage.records import Build, BuildLevel, BuildState, name_network
from storage.rtl_record import RtlLayerCheck

N_FRAMES = 4
"""Of the recorded ones; a layer sees thousands of words in each."""

TIMEOUT_S = 900.0

NO_OTHER_STREAM = "each RTL layer by itself, at full speed and under backpressure"


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m fpga.rtl_check`: 1 where a simulated layer gives other words than the model, 2 without a build."""
    args = _parse_arguments(arguments)
    stop = stop_on_signals()
    try:
        database = None if args.folder else open_existing_database(args.storage)
        found = [(None, args.folder)] if database is None else find_builds(database, args)
        finn = find_finn(args.finn, print_event, stop)
        run = CheckRun(args.frames, args.processes, args.timeout_s, stop, print_event)
        is_equal = True
        for build, folder in found:
            checked = check_build(folder.resolve(), finn, run)
            if database is not None and build is not None:
                _record(database, build, checked)
                print(f"build {build.build_id}: {build.network}, {build.target.board}")
            print(describe_check(checked))
            is_equal = is_equal and not checked.differing
    except CommandStoppedError:
        return EXIT_STOPPED
    except (RtlCheckError, ArtifactError, DatabaseError, FinnEnvironmentError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if is_equal else 1


def find_builds(database: Database, args: argparse.Namespace) -> list[tuple[Build, Path]]:
    """The trial's builds that have generated code, with their folders; of one stage alone where that is given.

    Raises RtlCheckError where there is none.
    """
    store, order = ArtifactStore(args.artifacts), list(BuildLevel)
    found = [
        (build, store.path(build.folder))
        for build in load_builds(database, args.study)
        if build.trial_number == args.trial and args.stage in (None, build.stage)
        if build.state is BuildState.SUCCEEDED and build.folder is not None
        if build.level is not None and order.index(build.level) >= order.index(BuildLevel.CODEGEN)
    ]
    if not found:
        name = f"trial {args.trial}" if args.stage is None else name_network(args.trial, args.stage)
        raise RtlCheckError(
            f"{name} of {args.study} has no build with generated code; "
            "python -m search.promote sends it to the build queue"
        )
    return found


def check_recorded_build(database: Database, build: Build, folder: Path, finn: Finn, attempt: Attempt) -> None:
    """What the build worker does behind a build; tells what it found, or why it did not.

    Raises CommandStoppedError when it is to stop.
    """
    try:
        run = CheckRun(N_FRAMES, count_processors(), TIMEOUT_S, attempt.stop, lambda _: None)
        checked = check_build(folder, finn, run)
        _record(database, build, checked)
    except CommandStoppedError:
        raise
    except Exception as error:  # a worker's outermost frame: whatever one check does, the next build is run
        attempt.tell(f"has its RTL not checked: {type(error).__name__}: {' '.join(str(error).split())}")
        return
    attempt.tell(f"has its RTL checked: {summarise_check(checked)}")


def describe_check(checked: CheckedBuild) -> str:
    """The table, in Markdown, and below it what it does not say."""
    check = checked.check
    lines = [
        "| layer | LUT by FINN | by Yosys | FF by Yosys | BRAM18 by FINN | by Yosys | DSP by FINN | by Yosys "
        "| words simulated |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: | :-- |",
        *(_describe_layer(checked, layer) for layer in check.layers),
        *_describe_totals(checked),
        "",
        f"{check.yosys}, synth_xilinx, no place and route; edited copies of {_list_names(check.edited_for_yosys)}.",
    ]
    if check.verilator is not None:
        lines.append(
            f"{check.verilator}, {check.n_frames} recorded frames, {NO_OTHER_STREAM}; "
            f"edited copies of {_list_names(check.edited_for_verilator)}."
        )
    notes = [(layer.name, note) for layer in check.layers if not _is_hls(layer) for note in _list_notes(layer)]
    lines += [f"- {name}: {note}" for name, note in notes]
    return "\n".join([*lines, summarise_check(checked)])


def summarise_check(checked: CheckedBuild) -> str:
    """One line."""
    layers, differing = checked.check.layers, checked.differing
    n_equal = sum(layer.is_equal is True for layer in layers)
    words = f"Yosys synthesised {len(checked.by_yosys)} of {len(layers)} layers, "
    if checked.check.verilator is None:
        return words + "none simulated: verilator, make and g++ are not on PATH"
    words += f"{n_equal} simulated as the model"
    names = ", ".join(layer.name for layer in differing)
    return words + (f"; {len(differing)} DIFFER: {names}" if differing else "")


def count_processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def _describe_layer(checked: CheckedBuild, layer: RtlLayerCheck) -> str:
    finn, yosys = checked.estimates.get(layer.name), checked.by_yosys.get(layer.name)
    if yosys is None:
        cells = [_cell(finn, "lut"), "", "", _cell(finn, "bram_18k"), "", _cell(finn, "dsp"), ""]
    else:
        cells = [_cell(finn, "lut"), _cell(yosys, "lut"), _cell(yosys, "ff"), _cell(finn, "bram_18k")]
        cells += [_cell(yosys, "bram_18k"), _cell(finn, "dsp"), _cell(yosys, "dsp")]
    simulated = "HLS, not synthesised" if _is_hls(layer) else ""
    if layer.n_words is not None:
        simulated = f"{layer.n_words:,} {'equal' if layer.is_equal else 'DIFFER'}"
    return f"| {layer.name} | {' | '.join(cells)} | {simulated} |"


def _describe_totals(checked: CheckedBuild) -> list[str]:
    """One line per kind of layer, and one of all, over the layers that both have."""
    both = [name for name in checked.by_yosys if name in checked.estimates]
    kinds = dict.fromkeys(name.rpartition("_")[0] for name in both)
    parts = {f"{kind}, all": [name for name in both if name.rpartition("_")[0] == kind] for kind in kinds}
    return [_describe_sum(checked, title, names) for title, names in (parts | {"all that both have": both}).items()]


def _describe_sum(checked: CheckedBuild, title: str, names: Sequence[str]) -> str:
    finn, yosys = ([found[name] for name in names] for found in (checked.estimates, checked.by_yosys))
    columns = [(finn, "lut"), (yosys, "lut"), (yosys, "ff"), (finn, "bram_18k"), (yosys, "bram_18k")]
    sums = [
        f"{sum(getattr(taken, name) or 0 for taken in found):,}"
        for found, name in (*columns, (finn, "dsp"), (yosys, "dsp"))
    ]
    layers = [layer for layer in checked.check.layers if layer.name in names and layer.n_words is not None]
    n_equal = sum(layer.n_words or 0 for layer in layers if layer.is_equal)
    n_others = sum(not layer.is_equal for layer in layers)
    words = f"{n_equal:,} equal" + (f"; {n_others} of {len(layers)} layers DIFFER" if n_others else "")
    return f"| {title} ({len(names)}) | {' | '.join(sums)} | {words if layers else ''} |"


def _cell(taken: Resources | None, name: str) -> str:
    return "" if taken is None else f"{getattr(taken, name):,}"


def _is_hls(layer: RtlLayerCheck) -> bool:
    return (layer.synthesis_note or "").startswith("HLS")


def _list_notes(layer: RtlLayerCheck) -> list[str]:
    return list(dict.fromkeys(note for note in (layer.synthesis_note, layer.simulation_note) if note))


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names) or "no file"


def _record(database: Database, build: Build, checked: CheckedBuild) -> None:
    if not record_rtl_check(database, build.build_id, checked.by_yosys, checked.check):
        raise RtlCheckError(f"build {build.build_id} is at work again; what was found is in its folder alone")


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(prog="python -m fpga.rtl_check", description=__doc__)
    parser.add_argument("study", nargs="?", help="a study's name")
    parser.add_argument("trial", nargs="?", type=int, help="a trial of it that was built up to codegen")
    add_stage_option(parser, "all")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="a build's folder in place of study and trial")
    add_storage_option(parser)
    add_artifacts_option(parser, "artifacts")
    parser.add_argument("--frames", type=int, default=N_FRAMES, help="recorded frames to simulate (%(default)s)")
    parser.add_argument(
        "--processes", type=int, default=count_processors(), help="layers at once (all processors, %(default)s)"
    )
    parser.add_argument("--timeout-s", type=float, default=TIMEOUT_S, help="of one call of a tool (%(default)g)")
    add_finn_option(parser)
    args = parser.parse_args(arguments)
    if (args.folder is None) == (args.trial is None):
        parser.error("expected STUDY TRIAL, or --folder DIR")
    if args.folder is not None and args.stage is not None:
        parser.error(f"--stage is {args.stage}; expected none with --folder, which is of one build")
    if args.frames < 1 or args.processes < 1:
        parser.error(f"--frames is {args.frames}, --processes {args.processes}; expected at least 1")
    return args


if __name__ == "__main__":
    run_command(main)
