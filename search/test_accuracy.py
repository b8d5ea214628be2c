"""Measures one network on the test part, SNR by SNR and class by class: `python -m search.test_accuracy STUDY TRIAL`.

For reports, never to choose by.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import optuna
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.judgement import find_interval, find_normal_interval
from search.promotion import PromotionError, measure_test
from search.stored_point import open_stored_point
from search.study import StudyError
from spaces.study_config import ConfigError
from storage.artifacts import ArtifactError
from storage.command_options import add_network_options
from storage.commands import make_parser, run_command
from storage.database import DatabaseError
from storage.dataset.radioml import DatasetError

if TYPE_CHECKING:  # it imports torch
    from workers.accuracy import Accuracy


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the accuracies. Exit code 2 where study, trial, weights or data are missing."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        stored = open_stored_point(args.storage, args.artifacts, args.study, args.trial, args.stage)
        accuracy = measure_test(stored)
    except (ArtifactError, ConfigError, DatabaseError, DatasetError, PromotionError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    print_accuracy(accuracy, stored.file.class_names, as_json=args.json)
    return 0


def print_accuracy(accuracy: Accuracy, class_names: Sequence[str], *, as_json: bool) -> None:
    """JSON, or else tables.

    Its keys: "accuracy", "n_frames", "intervals" {name: [low, high]}, "by_snr" {label: fraction}, "by_class".
    """
    by_class = {class_names[label]: fraction for label, fraction in accuracy.by_class.items()}
    intervals = {
        "Clopper-Pearson": find_interval(accuracy.overall, accuracy.n_frames),
        "normal": find_normal_interval(accuracy.overall, accuracy.n_frames),
    }
    if as_json:
        content = {"accuracy": accuracy.overall, "n_frames": accuracy.n_frames, "intervals": intervals}
        print(json.dumps({**content, "by_snr": dict(accuracy.by_snr), "by_class": by_class}))
        return
    console = Console()
    console.print(f"{accuracy.overall:.2%} of {accuracy.n_frames} test frames")
    for name, (low, high) in intervals.items():
        console.print(f"95 % interval ({name}): {low:.2%} to {high:.2%}", highlight=False)
    console.print(_make_table("SNR label, dB", {f"{snr:+d}": value for snr, value in accuracy.by_snr.items()}))
    console.print(_make_table("class, at 10 dB and above", by_class))


def _make_table(title: str, values: dict[str, float]) -> Table:
    table = Table(title, "accuracy")
    table.columns[1].justify = "right"
    for name, value in values.items():
        table.add_row(escape(name), f"{value:.1%}")
    return table


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.test_accuracy", description="Measures one network of a study on the test part."
    )
    add_network_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
