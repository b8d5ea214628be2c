"""Networks that a study found against BacalhauNet: `python -m search.judge_winners STUDY TRIAL:STAGE ...`.

Each is trained with several seeds on the study's data for as many epochs in all: BacalhauNet by its paper's method, and
once more in the way of the others, which shows what is due to the training. They are measured on test frames, and on
those of a twin that no search has seen. The training of median validation accuracy is exported, and built with FINN.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna

from search.benchmarks.hardware_table import ExampleNetwork, build_all, describe_builds
from search.benchmarks.pictures import MISSING, can_draw
from search.benchmarks.winners_plot import plot_winners
from search.hardware_estimates import study_target
from search.promotion import N_REFERENCE_FRAMES, measure_weights
from search.reports.study_report import StudyReport, load_study_report
from search.stored_point import find_point
from search.study import StudyError, find_unreachable_target, match_study
from search.study_data import describe_dataset, open_dataset, open_fresh_twin, request_frames, study_split
from spaces.architecture import NOT_QUANTIZED
from spaces.search_space import Design
from spaces.study_config import ConfigError, StudyConfig, parse_study_config
from storage.artifacts import ArtifactError, ArtifactStore, write_bytes_atomically, write_text_atomically
from storage.builds import load_build, queue_build
from storage.command_options import add_storage_option, parse_count
from storage.commands import make_parser
from storage.database import Database, DatabaseError, open_database, open_existing_database
from storage.dataset.frames import load_validation_sample
from storage.dataset.radioml import DatasetError, RadioMLFile
from storage.records import Build, BuildRequest, Evaluation
from storage.studies import load_study_record

BASELINE = "BacalhauNet, its paper's method"

SAME_TRAINING = "BacalhauNet, trained as the others"

STUDY_NAME = "winners"


@dataclass(frozen=True)
class JudgedSeed:
    """One training, as it is at the end of its last stage."""

    seed: int
    inference_cost: float
    validation: float
    on_test: float
    on_fresh: float
    """On the test frames of the fresh twin."""
    n_frames: int
    """Of each of the two tests."""


@dataclass(frozen=True)
class Judged:
    """One network with all its trainings."""

    name: str
    design: Design
    trainings: tuple[tuple[Evaluation, ...], ...]
    """For each seed the evaluations of its stages."""
    seeds: tuple[JudgedSeed, ...]

    @property
    def inference_cost(self) -> float:
        """Mean of the seeds."""
        return statistics.mean(one.inference_cost for one in self.seeds)

    @property
    def median(self) -> int:
        """Which training has the median validation accuracy; of two in the middle the lower one."""
        order = sorted(range(len(self.seeds)), key=lambda index: self.seeds[index].validation)
        return order[(len(order) - 1) // 2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints two tables. Exit code 1 where a build failed, 2 where study, trial or data are missing, 130 after Ctrl-C.

    Resumes.
    """
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not can_draw():
        print(MISSING, file=sys.stderr)
        return 2
    try:
        ArtifactStore(args.folder).check_can_write()
        database = open_existing_database(args.storage)
        report = load_study_report(database, args.study)
        designs = dict(find_winner(report, wanted) for wanted in args.points)
        record = load_study_record(database, args.study)
        assert record is not None  # load_study_report raises before
        config = parse_study_config(record.text, f"study {args.study}")
        file = open_dataset(config)
        config = match_study(config, database, describe_dataset(file))
        ways = list_ways(designs)
        _say("a twin of the next seed, which takes minutes where it is not there yet")
        fresh = open_fresh_twin(config, file)
    except (ArtifactError, ConfigError, DatabaseError, DatasetError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        judged = judge_designs(ways, config, file, fresh, args.folder, args.seeds, args.processes)
    except KeyboardInterrupt:
        print("interrupted; nothing is lost, the same command goes on", file=sys.stderr)
        return 130
    print(format_judged(judged))
    write_text_atomically(args.folder / "winners.json", _as_json(judged))
    exported = [export_winner(one, config, file, args.folder) for one in judged]
    plot_winners(report, {one.name: one.trainings for one in judged}, args.folder / "winners.png")
    if args.no_build:
        return 0
    builds = build_winners(judged, exported, config, args.folder)
    for number, (one, own) in enumerate(zip(judged, exported, strict=True)):
        write_to_zoo(one, own, builds[number], config, args.folder / "zoo")
    print("\n" + describe_builds([_example(one, config) for one in judged], builds))
    return 0 if all(build.report for build in builds.values()) else 1


def list_ways(designs: Mapping[str, Design]) -> dict[str, Design]:
    """What is trained, BacalhauNet first. Raises StudyError for a design that is trained for longer than that."""
    from workers.benchmarks.recipes import bacalhaunet_by_targets, small_net_ways  # import torch

    baseline = small_net_ways()[BASELINE]
    for name, design in designs.items():
        if design.n_epochs > baseline.n_epochs:
            raise StudyError(f"{name} has {design.n_epochs} epochs; expected at most {baseline.n_epochs}: {BASELINE}")
    filled = {name: fill_epochs(one, baseline.n_epochs) for name, one in designs.items()}
    return {BASELINE: baseline, SAME_TRAINING: bacalhaunet_by_targets(), **filled}


@dataclass(frozen=True)
class Wanted:
    """A network to judge: that of a trial after a stage."""

    trial: int
    stage: int
    inference_cost: float | None = None
    """Pruned to this cost instead of the stage's own; None: as in the study."""


def find_winner(report: StudyReport, wanted: Wanted) -> tuple[str, Design]:
    """Its name, and its trial's design up to that stage.

    Raises StudyError where there is none, where it began with a parent's weights or has float layers, and where its
    stage has no cost target or cannot be pruned to this one.
    """
    design = find_point(report, wanted.trial, wanted.stage).design
    stages = design.stages[: wanted.stage]
    name = f"trial {wanted.trial}, stage {wanted.stage}"
    if design.parent is not None:
        raise StudyError(
            f"trial {wanted.trial} began with another's weights; expected one that was trained from nothing"
        )
    if not design.architecture.is_quantized:
        raise StudyError(f"{name}: {NOT_QUANTIZED}")
    if wanted.inference_cost is None:
        return name, design.model_copy(update={"stages": stages})
    if not stages or getattr(stages[-1], "inference_cost", None) is None:
        raise StudyError(f"{name} is pruned to no inference cost; expected no other cost for it")
    last = stages[-1].model_copy(update={"inference_cost": wanted.inference_cost})
    design = design.model_copy(update={"stages": (*stages[:-1], last)})
    unreachable = find_unreachable_target(design)
    if unreachable is not None:
        raise StudyError(f"{name}: {unreachable}")
    return f"{name} at {wanted.inference_cost:g}", design


def fill_epochs(design: Design, n_epochs: int) -> Design:
    """The design trained for so many epochs in all: what it lacks goes to its last stage, the one before, and so on."""
    epochs = [design.training.epochs, *(stage.epochs for stage in design.stages)]
    for index in range(n_epochs - sum(epochs)):
        epochs[-1 - index % len(epochs)] += 1
    stages = [stage.model_copy(update={"epochs": n}) for stage, n in zip(design.stages, epochs[1:], strict=True)]
    training = design.training.model_copy(update={"epochs": epochs[0]})
    return design.model_copy(update={"training": training, "stages": tuple(stages)})


def judge_designs(
    ways: Mapping[str, Design],
    config: StudyConfig,
    file: RadioMLFile,
    fresh: RadioMLFile,
    folder: Path,
    n_seeds: int,
    processes: int,
) -> list[Judged]:
    """Trains what is not trained yet, and measures it."""
    from workers.benchmarks.campaigns import Campaign, run_campaign  # import torch, which a wrong name does not need

    campaign = Campaign(ways, n_seeds, request_frames(config, file), folder, processes)
    results = run_campaign(campaign, _say)
    judged = []
    for name, design in ways.items():
        _say(f"measuring {name} on test frames")
        seeds = tuple(_judge_seed(design, stages[-1], config, file, fresh, folder) for stages in results[name])
        judged.append(Judged(name, design, tuple(results[name]), seeds))
    return judged


def export_winner(judged: Judged, config: StudyConfig, file: RadioMLFile, folder: Path) -> Path:
    """Writes weights, QONNX and reference vectors of the median training to a folder of their own, which it returns."""
    from workers.qonnx_export import export_evaluation  # imports torch

    last = judged.trainings[judged.median][-1]
    own = folder / "artifacts" / judged.name.replace(",", "").replace("'", "").replace(" ", "-")
    own.mkdir(parents=True, exist_ok=True)
    weights = ArtifactStore(folder).path(last.checkpoint)
    architecture = last.architecture or judged.design.architecture
    write_text_atomically(own / "architecture.json", architecture.model_dump_json(indent=1))
    write_bytes_atomically(own / "weights.safetensors", weights.read_bytes())
    frames = load_validation_sample(file, study_split(config, file), N_REFERENCE_FRAMES, architecture.features)
    export_evaluation(architecture, weights, frames, own)
    return own


def build_winners(
    judged: Sequence[Judged], exported: Sequence[Path], config: StudyConfig, folder: Path
) -> dict[int, Build]:
    """Builds the exported networks for the study's board, and writes FINN's report beside each. By its place."""
    database = open_database(f"sqlite:///{folder.resolve()}/builds.db")
    store = ArtifactStore(folder / "artifacts")
    queued = [_queue(database, store, *of_one, config) for of_one in zip(judged, exported, strict=True)]
    build_all(database, store, folder / "build-worker.log")
    builds = {number: load_build(database, build.build_id) for number, build in enumerate(queued)}
    for number, build in builds.items():
        if build.report is not None:
            write_text_atomically(exported[number] / "finn_report.json", json.dumps(asdict(build.report), indent=1))
    return builds


def write_to_zoo(judged: Judged, own: Path, build: Build, config: StudyConfig, folder: Path) -> None:
    """The median training, as the repository's zoo has its networks."""
    from workers.zoo import ZooEntry, describe_build, name_entry, write_entry  # imports torch

    last, seed, twin = judged.trainings[judged.median][-1], judged.seeds[judged.median], config.dataset.twin
    entry = ZooEntry(
        description=f"{judged.name}: the median of {len(judged.seeds)} trainings by validation accuracy",
        architecture=last.architecture or judged.design.architecture,
        inference_cost=last.cost.inference_cost,
        profile=twin.profile,
        frames_per_cell=twin.frames_per_cell,
        twin_seed=twin.seed,
        accuracy=seed.on_test,
        fresh_accuracy=seed.on_fresh,
        n_frames=seed.n_frames,
        n_fresh_frames=seed.n_frames,
        build=describe_build(build),
    )
    name = f"{config.study.name} {judged.name}" if judged.name.startswith("trial") else judged.name
    write_entry(name_entry(name), entry, own / "weights.safetensors", own / "model.onnx", folder)


def format_judged(judged: Sequence[Judged]) -> str:
    """A Markdown table: mean and standard error over the seeds in percent, and the share of the baseline's cost."""
    frames = judged[0].seeds[0].n_frames
    lines = [
        f"| network | inference cost | share | epochs | validation, % | test, {frames} frames | test, fresh twin "
        "| lowest seed, test |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in judged:
        share = one.inference_cost / judged[0].inference_cost
        values = [_format_mean(one, lambda seed: seed.validation), _format_mean(one, lambda seed: seed.on_test)]
        values.append(_format_mean(one, lambda seed: seed.on_fresh))
        lowest = 100 * min(seed.on_test for seed in one.seeds)
        lines.append(
            f"| {one.name} | {one.inference_cost:.5f} | {share:.2f} | {one.design.n_epochs} | {' | '.join(values)} "
            f"| {lowest:.2f} |"
        )
    return "\n".join(lines)


def _judge_seed(
    design: Design, last: Evaluation, config: StudyConfig, file: RadioMLFile, fresh: RadioMLFile, folder: Path
) -> JudgedSeed:
    weights = ArtifactStore(folder).path(last.checkpoint)
    architecture = last.architecture or design.architecture
    test, other = (measure_weights(architecture, weights, config, of) for of in (file, fresh))
    cost = last.cost.inference_cost
    return JudgedSeed(last.seed, cost, last.accuracy, test.overall, other.overall, test.n_frames)


def _queue(database: Database, store: ArtifactStore, judged: Judged, folder: Path, config: StudyConfig) -> Build:
    """Its build, or the one that these weights have already for the same target."""
    weights = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()[:12]
    return queue_build(
        database,
        BuildRequest(
            study_name=f"{STUDY_NAME}-{weights}",
            trial_number=0,
            stage=len(judged.design.stages),
            model=store.relative(folder.resolve() / "model.onnx"),
            reference_vectors=store.relative(folder.resolve() / "proof.npz"),
            target=study_target(config),
            timeout_s=config.fpga.timeout_s,
            is_below_threshold=False,
            test_accuracy=judged.seeds[judged.median].on_test,
        ),
    )


def _example(judged: Judged, config: StudyConfig) -> ExampleNetwork:
    return ExampleNetwork(judged.name, judged.design.architecture, study_target(config))


def _as_json(judged: Sequence[Judged]) -> str:
    rows = [
        {"name": one.name, "design": one.design.model_dump(mode="json"), "seeds": [asdict(seed) for seed in one.seeds]}
        for one in judged
    ]
    return json.dumps(rows, indent=1)


def _format_mean(judged: Judged, read: Callable[[JudgedSeed], float]) -> str:
    values = [100 * read(seed) for seed in judged.seeds]
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse_point(text: str) -> Wanted:
    match = re.fullmatch(r"(\d+):(\d+)(?::(0\.\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"it is {text}; expected TRIAL:STAGE or TRIAL:STAGE:COST, such as 12:3:0.0098")
    return Wanted(int(match[1]), int(match[2]), None if match[3] is None else float(match[3]))


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.judge_winners", description="Networks that a study found against BacalhauNet."
    )
    parser.add_argument("study", help="name of the study")
    parser.add_argument(
        "points", nargs="+", type=_parse_point, metavar="TRIAL:STAGE[:COST]", help="networks of its front"
    )
    parser.add_argument("--seeds", type=parse_count, default=3, help="trainings of each network; default 3")
    parser.add_argument("--processes", type=parse_count, default=1, help="trainings at once; default 1")
    parser.add_argument("--no-build", action="store_true", help="no FINN")
    parser.add_argument("--folder", type=Path, default=Path("runs/winners"), help="where all lies (%(default)s)")
    add_storage_option(parser)
    return parser.parse_args(arguments)
