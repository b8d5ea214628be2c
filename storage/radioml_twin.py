"""Makes the synthetic twin of RadioML 2018.01A, a file of the same layout, from a seed, or shows its signals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from storage.commands import make_parser, run_command
from storage.dataset.radioml import DatasetError
from storage.twin.cached_twin import PROFILES
from storage.twin.cell_writers import GeneratorError
from storage.twin.file import (
    Twin,
    count_finished_cells,
    default_processes,
    request_twin,
    write_twin,
)
from storage.twin.progress import show_frames
from storage.twin.signal_page import write_data_page, write_generated_page


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m storage.radioml_twin`: exit code 0, 2 where it cannot, or 130 after Ctrl-C."""
    args = _parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        if args.out is not None:
            _make(args.out, request_twin(args.frames_per_cell, args.seed, args.profile, args.snrs_db), args)
        if args.plot is not None:
            _plot(args)
    except (DatasetError, GeneratorError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"{error.filename or args.out or args.plot} cannot be written: {error.strerror or error}; "
            "expected a file in a folder that can be written",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _make(path: Path, twin: Twin, args: argparse.Namespace) -> None:
    n_finished = count_finished_cells(path, twin)
    if n_finished:
        print(f"going on: {n_finished} of {twin.n_cells} cells are there")
    try:
        with show_frames(n_finished * twin.frames_per_cell, twin.n_frames) as on_progress:
            is_new = write_twin(path, twin, args.processes, on_progress, args.force)
    except KeyboardInterrupt:
        n_kept = count_finished_cells(path, twin)
        kept = f"{n_kept} of {twin.n_cells} cells are kept: the same command goes on from there"
        print(f"stopped; {path} is not written yet, {kept}", file=sys.stderr)
        raise
    size = f"{twin.n_frames:,} frames, {path.stat().st_size / 2**20:,.0f} MiB"
    print(f"{path}: {size}" if is_new else f"{path} is this very twin already; nothing to do: {size}")


def _plot(args: argparse.Namespace) -> None:
    data = args.data or args.out
    if data is not None:
        write_data_page(args.plot, data, args.snr)
    else:
        write_generated_page(args.plot, request_twin(1, args.seed, args.profile, (args.snr,)))
    print(args.plot)


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser(prog="python -m storage.radioml_twin", description=__doc__)
    parser.add_argument("--frames-per-cell", type=int, default=64, metavar="N", help="per class and SNR (%(default)s)")
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0], help="(%(default)s)")
    parser.add_argument("--snrs-db", type=_snr_labels, metavar="LIST", help="such as -20,0,30; default the profile's")
    parser.add_argument("--seed", type=int, default=2018, metavar="N", help="(%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.hdf5", help="the file to write")
    parser.add_argument("--processes", type=_process_count, metavar="N", help="default one per core, up to 16")
    parser.add_argument("--force", action="store_true", help="replace another twin at --out")
    parser.add_argument("--plot", type=_page_path, metavar="PAGE.html", help="show the signals of each class")
    parser.add_argument("--snr", type=int, default=30, metavar="DB", help="SNR label that --plot shows (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FILE.hdf5", help="file that --plot shows rather than new frames")
    args = parser.parse_args(_join_value(arguments, "--snrs-db"))
    if args.data is not None and (args.plot is None or args.out is not None):
        parser.error("--data names the file that --plot shows; expected --plot beside it, and no --out")
    if args.out is None and args.plot is None:
        parser.error("nothing to do; expected --out FILE.hdf5, --plot PAGE.html, or both")
    return args


def _join_value(arguments: Sequence[str], option: str) -> list[str]:
    """`--option -20,0` as `--option=-20,0`: argparse takes a value that begins with a minus for an option."""
    joined = list(arguments)
    if option in joined[:-1]:
        place = joined.index(option)
        joined[place : place + 2] = [f"{option}={joined[place + 1]}"]
    return joined


def _snr_labels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole numbers of dB such as -20,0,30") from None


def _process_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}; expected 1 to 1024 (without it, {default_processes()})")
    return int(text)


def _page_path(text: str) -> Path:
    if Path(text).suffix != ".html":
        raise argparse.ArgumentTypeError(f"{text!r}; expected a file name that ends in .html")
    return Path(text)


if __name__ == "__main__":
    run_command(main)
