"""Seconds that a suggestion takes in a long study: `python -m search.ask_benchmark`.

The study lies in SQLite, as in a run. Its trials were not trained: their values come from a formula.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, create_trial

from search.objectives import study_objectives
from search.optuna_storage import open_optuna_storage, open_optuna_study
from search.strategy.choosing import Chooser
from search.strategy.recorded_draw import RecordedDraw
from search.study import ask_trial, make_sampler, open_study
from search.trial_attributes import DESIGN, MEASURED
from spaces.study_config import StudyConfig, load_study_config
from storage.command_options import parse_count
from storage.commands import make_parser, run_command
from storage.database import Database, open_database
from storage.evaluations import record_new_evaluations
from storage.records import Evaluation
from workers.inference_cost import count_cost, list_mac_layers

SPACE = Path(__file__).parents[2] / "spaces/dsc4.yaml"

WAYS = ("random", "tpe", "nsga2", "gp", "candidates")
"""The samplers, and the choice among candidates."""

N_CANDIDATES = 300


@dataclass(frozen=True)
class Latency:
    """Of one way in a study of so many trials, in seconds."""

    way: str
    n_trials: int
    first: float
    """With opening the study, and loading its trials."""
    median: float
    longest: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("| way | trials | first | median | longest |\n|---|--:|--:|--:|--:|")
    for n_trials in args.trials:
        with tempfile.TemporaryDirectory(prefix="ask-benchmark-") as folder:
            url = f"sqlite:///{folder}/studies.db"
            fill_study(open_database(url), _config("tpe"), n_trials)
            for way in args.ways:
                found = measure(url, way, n_trials, args.asks)
                print(f"| {way} | {n_trials:,} | {found.first:.2f} | {found.median:.2f} | {found.longest:.2f} |")
    return 0


def measure(url: str, way: str, n_trials: int, n_asks: int) -> Latency:
    """Asks as a run does, with fresh caches. The trials that are asked stay running."""
    opened = time.perf_counter()
    config, database = _config(way), open_database(url)
    study = open_optuna_study(open_optuna_storage(database), config.study.name, study_objectives(config))
    study.sampler = make_sampler(study, config.study)
    chooser = Chooser(config, database) if way == "candidates" else None
    seconds: list[float] = []
    for number in range(n_asks + 1):
        started = time.perf_counter() if number else opened
        chosen = None if chooser is None else chooser.choose(study)
        ask_trial(study, config.search_space, None if chosen is None else chosen.params)
        seconds.append(time.perf_counter() - started)
    return Latency(way, n_trials, seconds[0], statistics.median(seconds[1:]), max(seconds[1:]))


def fill_study(database: Database, config: StudyConfig, n_trials: int) -> None:
    """A study with so many complete trials and their evaluations."""
    study = open_study(config, database, {})
    evaluations: list[Evaluation] = []
    trials: list[FrozenTrial] = []
    for number in range(n_trials):
        trial, measured = _make_trial(config, number)
        trials.append(trial)
        evaluations += measured
    study.add_trials(trials)
    record_new_evaluations(database, evaluations)


def _make_trial(config: StudyConfig, number: int) -> tuple[FrozenTrial, list[Evaluation]]:
    draw = RecordedDraw(random.Random(number))
    design = config.search_space.suggest(draw)
    layers = [layer.name for layer in list_mac_layers(design.architecture)]
    measured = []
    for stage in range(len(design.stages) + 1):
        density = dict.fromkeys(layers, 0.4**stage)
        cost = count_cost(design.architecture, density)
        accuracy = 0.5 - 0.02 / (cost.inference_cost * 50 + 0.1) + random.Random(f"{number} {stage}").gauss(0, 0.01)
        measured.append(
            Evaluation(
                study_name=config.study.name,
                trial_number=number,
                stage=stage,
                accuracy=accuracy,
                accuracy_by_snr=dict.fromkeys(range(-20, 32, 2), accuracy),
                n_frames=24_960,
                cost=cost,
                density=density,
                epochs=5 + 3 * stage,
                seed=number,
                training_seconds=30.0,
                checkpoint="none",
            )
        )
    last = measured[-1]
    trial = create_trial(
        values=[last.accuracy, last.cost.inference_cost],
        params=draw.params,
        distributions=draw.distributions,
        user_attrs={DESIGN: design.model_dump_json(), MEASURED: last.cost.bit_ops},
    )
    return trial, measured


def _config(way: str) -> StudyConfig:
    config = load_study_config(SPACE)
    changed = {"candidates": N_CANDIDATES} if way == "candidates" else {"sampler": way}
    return config.model_copy(update={"study": config.study.model_copy(update=changed)})


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.ask_benchmark", description="Seconds that a suggestion takes in a long study."
    )
    parser.add_argument("--trials", nargs="+", type=parse_count, default=[100, 1000, 10_000], metavar="N")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--asks", type=parse_count, default=5, help="after the first; default 5")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
