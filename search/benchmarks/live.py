"""Ours against others at equal training time: `python -m search.live_benchmark samplers` or `staged`.

The others are Optuna's samplers, or a staged campaign. Each way has studies of its own, run by `search.run` one after
another, with the same space, data, recipe and minutes, one trial at a time. What counts is the hypervolume of the
points that it found. A trial of Optuna's samplers gives one point, that of its last stage, as it does there; ours gives
one for each stage, and so does a campaign. Finished studies are not run again. One that was stopped begins anew.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from search.pareto import hypervolume
from search.reports.study_report import StudyReport, load_study_report
from spaces.study_config import load_study_config
from storage.child_processes import module_environment
from storage.command_options import parse_count
from storage.database import open_existing_database

SPACES = Path(__file__).parents[2] / "spaces"

STUDY_NAME = "live"

CORNER = (1 / 24, 0.1)
"""Accuracy of a guess, and an inference cost above that of the networks that count."""

LADDER = (0.02, 0.0118, 0.0083, 0.0059)
"""Cost targets of our trials; a peer's trial draws one between the last and the first of them."""

EPOCHS, STAGE_EPOCHS = 4, 2

JOINT_LADDER = (0.0165, 0.0083, 0.0045, 0.0026)
"""Cost targets against the campaign, whose last rounds of pruning reach the lowest of them."""

OURS, WITHOUT_PARENTS, TPE, NSGA = "ours", "ours, without inheritance", "Optuna TPE", "Optuna NSGA-II"

STAGED, JOINT = "staged campaign", "joint search"

OUR_PARTS: Mapping[str, object] = {
    "study": {"sampler": "tpe", "candidates": 300, "inherits": True},
    "early_stopping": {},
}

SAMPLERS: Mapping[str, Mapping[str, object]] = {
    OURS: OUR_PARTS,
    WITHOUT_PARENTS: {"study": {"sampler": "tpe", "candidates": 300}, "early_stopping": {}},
    TPE: {"study": {"sampler": "tpe"}},
    NSGA: {"study": {"sampler": "nsga2"}},
}

WAYS: Mapping[str, Sequence[str]] = {"samplers": list(SAMPLERS), "staged": [STAGED, JOINT]}
"""Of each comparison, in the order in which they are run."""

GIVE_ONE_POINT = (TPE, NSGA)


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
    minutes: float
    """From its start to its end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table. Exit code 1 where a study failed."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs: list[Run] = []
    try:
        for seed in range(1, args.seeds + 1):
            minutes: float | None = args.minutes if args.against == "samplers" else None
            for way in WAYS[args.against]:
                runs.append(run_study(way, seed, minutes, args.frames_per_cell, args.folder.resolve()))
                if way == STAGED:
                    minutes = runs[-1].minutes
                print(f"{way}, seed {seed}: {runs[-1].hypervolume:.4f}", file=sys.stderr, flush=True)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(format_runs(runs))
    return 0


def run_study(way: str, seed: int, minutes: float | None, frames_per_cell: int, folder: Path) -> Run:
    """Runs a study for so many minutes, or to its end, unless that is done already. Raises BenchmarkError."""
    own = folder / f"{way.replace(' ', '-').replace(',', '')}-{seed}"
    text = yaml.safe_dump(make_study(way, seed, frames_per_cell))
    done, what = own / "done.json", {"study": text, "minutes": minutes}
    known = json.loads(done.read_text()) if done.exists() else {}
    if {key: known.get(key) for key in what} != what:
        shutil.rmtree(own, ignore_errors=True)  # of a run that was stopped: it would have more minutes than the others
        own.mkdir(parents=True)
        (own / "study.yaml").write_text(text)
        options = ["--local", "--no-build", "--no-dashboard"]
        options += [] if minutes is None else ["--time-limit", f"{minutes * 60:.0f}s"]
        command = [sys.executable, "-m", "search.run", "study.yaml", *options]
        started = time.monotonic()
        ended = subprocess.run(command, cwd=own, env=module_environment(), capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise BenchmarkError(f"{way}, seed {seed}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        known = {**what, "took": (time.monotonic() - started) / 60}
        done.write_text(json.dumps(known))
    report = load_study_report(open_existing_database(f"sqlite:///{own}/runs/studies.db"), STUDY_NAME)
    return measure(way, seed, report, known["took"])


def make_study(way: str, seed: int, frames_per_cell: int) -> dict[str, object]:
    """The study of a way: a space of ours, and what the way has of its own."""
    study = _load("staged" if way in (STAGED, JOINT) else "dsc4")
    own = json.loads(json.dumps(SAMPLERS.get(way, OUR_PARTS)))
    stage = {"kind": "cost_aware", "epochs": STAGE_EPOCHS}
    if way == STAGED:
        own = {"study": {"sampler": "tpe"}}
    elif way == JOINT:
        del study["stages"]
        own |= {"training": _load("dsc4")["training"], "budget": {"trials": 1000, "epochs": study["budget"]["epochs"]}}
        own["pruning"] = {"stages": [{**stage, "inference_cost": target} for target in JOINT_LADDER]}
    else:
        drawn = {"float": [LADDER[-1], LADDER[0]], "log": True}
        targets: Sequence[object] = [drawn] if way in GIVE_ONE_POINT else LADDER
        own["pruning"] = {"stages": [{**stage, "inference_cost": target} for target in targets]}
        own["budget"] = {"trials": 1000, "epochs": EPOCHS}
    study |= {**own, "study": {"name": STUDY_NAME, "seed": seed, **own["study"]}, "promotion": {"top": 0}}
    study["dataset"]["twin"]["frames_per_cell"] = frames_per_cell
    return study


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(load_study_config(SPACES / f"{name}.yaml").text)
    return loaded


def measure(way: str, seed: int, report: StudyReport, minutes: float) -> Run:
    """What a study found."""
    points = tuple(trial.last for trial in report.complete_trials) if way in GIVE_ONE_POINT else report.points
    volume = hypervolume(
        [(point.accuracy, math.log10(point.inference_cost)) for point in points if point.inference_cost],
        (CORNER[0], math.log10(CORNER[1])),
        ("maximize", "minimize"),
    )
    return Run(way, seed, volume, report.counts.trained, len(points), minutes)


def format_runs(runs: Sequence[Run]) -> str:
    """A Markdown table: the hypervolume of each seed, their mean, and how many trials were trained."""
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"| way | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | trials | points | minutes |",
        f"|---|{'--:|' * (len(seeds) + 4)}",
    ]
    for way in dict.fromkeys(run.way for run in runs):
        own = sorted((run for run in runs if run.way == way), key=lambda run: run.seed)
        volumes = " | ".join(f"{run.hypervolume:.4f}" for run in own)
        mean = statistics.mean(run.hypervolume for run in own)
        trials, points = (sum(getattr(run, name) for run in own) / len(own) for name in ("n_trials", "n_points"))
        minutes = statistics.mean(run.minutes for run in own)
        lines.append(f"| {way} | {volumes} | {mean:.4f} | {trials:.0f} | {points:.0f} | {minutes:.1f} |")
    return "\n".join(lines)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m search.live_benchmark", description="Ours against others at equal training time."
    )
    parser.add_argument("against", nargs="?", choices=list(WAYS), default="samplers", help="default samplers")
    parser.add_argument("--seeds", type=parse_count, default=3, help="default 3")
    parser.add_argument("--minutes", type=float, default=15, help="of each study against samplers; default 15")
    parser.add_argument("--frames-per-cell", type=parse_count, default=48, help="of the twin; default 48")
    parser.add_argument("--folder", type=Path, default=Path("runs/live_benchmark"), help="where the studies lie")
    args = parser.parse_args(arguments)
    if not args.minutes > 0:
        parser.error(f"--minutes is {args.minutes:g}; expected a number above 0")
    return args


if __name__ == "__main__":
    sys.exit(main())
