"""Ours against Optuna's samplers at equal training time, live: `python -m search.live_benchmark`.

Each way has studies of its own, run by `search.run` one after another, with the same space, data, recipe, workers and
minutes. What counts is the hypervolume of the points that it found. A peer's trial gives one point, that of its last
stage, as it does there; ours gives one for each stage. Studies that are finished are not run again. One that was
stopped begins anew.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import yaml

from search.pareto import hypervolume
from search.reports.study_report import StudyReport, load_study_report
from spaces.study_config import load_study_config
from storage.child_processes import module_environment
from storage.command_options import parse_count
from storage.database import open_existing_database

SPACE = Path(__file__).parents[2] / "spaces/dsc4.yaml"

STUDY_NAME = "live"

CORNER = (1 / 24, 0.1)
"""Accuracy of a guess, and an inference cost above that of the networks that count."""

LADDER = (0.02, 0.0118, 0.0083, 0.0059)
"""Cost targets of our trials; a peer's trial draws one between the last and the first of them."""

EPOCHS, STAGE_EPOCHS = 4, 2

OURS, WITHOUT_PARENTS, TPE, NSGA = "ours", "ours, without inheritance", "Optuna TPE", "Optuna NSGA-II"

WAYS: Mapping[str, Mapping[str, object]] = {
    OURS: {"study": {"sampler": "tpe", "candidates": 300, "inherits": True}, "early_stopping": {}},
    WITHOUT_PARENTS: {"study": {"sampler": "tpe", "candidates": 300}, "early_stopping": {}},
    TPE: {"study": {"sampler": "tpe"}},
    NSGA: {"study": {"sampler": "nsga2"}},
}


class BenchmarkError(Exception):
    """A study could not be run; the text has its output."""


@dataclass(frozen=True)
class Run:
    """One study."""

    way: str
    seed: int
    hypervolume: float
    """In accuracy times orders of magnitude of cost; higher is better."""
    n_trials: int
    n_points: int
    """That count: those of all stages, or of the last ones."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table. Exit code 1 where a study failed."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs: list[Run] = []
    try:
        for seed in range(1, args.seeds + 1):
            for way in WAYS:
                runs.append(run_study(way, seed, args.minutes, args.frames_per_cell, args.folder.resolve()))
                print(f"{way}, seed {seed}: {runs[-1].hypervolume:.4f}", file=sys.stderr, flush=True)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(format_runs(runs))
    return 0


def run_study(way: str, seed: int, minutes: float, frames_per_cell: int, folder: Path) -> Run:
    """Runs a study for so many minutes, unless that is done already. Raises BenchmarkError."""
    own = folder / f"{way.replace(' ', '-').replace(',', '')}-{seed}"
    done, what = own / "done", f"{minutes:g} minutes of\n{yaml.safe_dump(make_study(way, seed, frames_per_cell))}"
    if not done.exists() or done.read_text() != what:
        shutil.rmtree(own, ignore_errors=True)  # of a run that was stopped: it would have more minutes than the others
        own.mkdir(parents=True)
        (own / "study.yaml").write_text(what.partition("\n")[2])
        options = ["--no-build", "--no-dashboard", "--time-limit", f"{minutes:g}m"]
        command = [sys.executable, "-m", "search.run", "study.yaml", *options]
        ended = subprocess.run(command, cwd=own, env=module_environment(), capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise BenchmarkError(f"{way}, seed {seed}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        done.write_text(what)
    report = load_study_report(open_existing_database(f"sqlite:///{own}/runs/studies.db"), STUDY_NAME)
    return measure(way, seed, report)


def make_study(way: str, seed: int, frames_per_cell: int) -> dict[str, dict[str, object]]:
    """The study of a way: the space of dsc4.yaml, and what the way has of its own."""
    study = yaml.safe_load(load_study_config(SPACE).text)
    ours = WAYS[way]
    stage = {"kind": "cost_aware", "epochs": STAGE_EPOCHS}
    drawn = {"float": [LADDER[-1], LADDER[0]], "log": True}
    targets: Sequence[object] = LADDER if way in (OURS, WITHOUT_PARENTS) else [drawn]
    study |= {
        "study": {"name": STUDY_NAME, "seed": seed, **json.loads(json.dumps(ours["study"]))},
        "pruning": {"stages": [{**stage, "inference_cost": target} for target in targets]},
        "budget": {"trials": 1000, "epochs": EPOCHS},
        "promotion": {"top": 0},
        **{part: value for part, value in ours.items() if part != "study"},
    }
    study["dataset"]["twin"]["frames_per_cell"] = frames_per_cell
    return dict(study)


def measure(way: str, seed: int, report: StudyReport) -> Run:
    """What a study found."""
    points = report.points if way in (OURS, WITHOUT_PARENTS) else tuple(trial.last for trial in report.complete_trials)
    volume = hypervolume(
        [(point.accuracy, math.log10(point.inference_cost)) for point in points if point.inference_cost],
        (CORNER[0], math.log10(CORNER[1])),
        ("maximize", "minimize"),
    )
    return Run(way, seed, volume, report.counts.trained, len(points))


def format_runs(runs: Sequence[Run]) -> str:
    """A Markdown table: the hypervolume of each seed, their mean, and how many trials were trained."""
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"| way | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | trials | points |",
        f"|---|{'--:|' * (len(seeds) + 3)}",
    ]
    for way in dict.fromkeys(run.way for run in runs):
        own = sorted((run for run in runs if run.way == way), key=lambda run: run.seed)
        volumes = " | ".join(f"{run.hypervolume:.4f}" for run in own)
        mean = statistics.mean(run.hypervolume for run in own)
        trials, points = (sum(getattr(run, name) for run in own) / len(own) for name in ("n_trials", "n_points"))
        lines.append(f"| {way} | {volumes} | {mean:.4f} | {trials:.0f} | {points:.0f} |")
    return "\n".join(lines)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m search.live_benchmark", description="Ours against Optuna's samplers at equal training time."
    )
    parser.add_argument("--seeds", type=parse_count, default=3, help="default 3")
    parser.add_argument("--minutes", type=float, default=15, help="of each study; default 15")
    parser.add_argument("--frames-per-cell", type=parse_count, default=48, help="of the twin; default 48")
    parser.add_argument("--folder", type=Path, default=Path("runs/live_benchmark"), help="where the studies lie")
    args = parser.parse_args(arguments)
    if not args.minutes > 0:
        parser.error(f"--minutes is {args.minutes:g}; expected a number above 0")
    return args


if __name__ == "__main__":
    sys.exit(main())
