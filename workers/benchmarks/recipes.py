"""What training and pruning give: `python -m workers.recipe_benchmark pruning`, `recipe` or `small_net`.

Each way trains the same network with the same seeds on a twin. A run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from spaces.counts import count_of
from spaces.known_designs import KNOWN_ARCHITECTURES
from spaces.pruning_stages import CostAwareStage, MagnitudeStage, PruningStage, ThresholdStage
from spaces.search_space import Design, TrainingSettings
from storage.commands import make_parser, run_command
from storage.records import Evaluation
from storage.twin.cached_twin import ensure_twin
from workers.benchmarks.campaigns import Campaign, Results, run_campaign
from workers.requests import DatasetRequest

BACALHAUNET, MIXED_BITS = KNOWN_ARCHITECTURES["bacalhaunet"], KNOWN_ARCHITECTURES["bacalhaunet_mixed_bits"]

TARGETS = (0.0235, 0.0118, 0.0083, 0.0059)
"""Inference costs: a third of the dense network's, what the published weights cost with quantized sums, two below."""

EPSILONS = (0.1, 0.2, 0.25, 0.3)
"""Of the threshold stages, up to beyond the papers' 0.25."""

FIRST_EPOCHS, STAGE_EPOCHS = 6, 2

MIN_TRAINING_SNR_DB, VALIDATION_FRACTION = -6, 0.2


def pruning_ways() -> Mapping[str, Design]:
    """The same network and epochs; how weights are removed differs, and with the last the schedule."""
    old = TrainingSettings(epochs=FIRST_EPOCHS, batch_size=64, learning_rate=0.01, weight_decay=1e-4, restart_epochs=2)
    plain = old.model_copy(update={"weight_decay": 0.0})
    thresholds = [ThresholdStage(epsilon=e, weight_decay=5e-5, epochs=STAGE_EPOCHS) for e in EPSILONS]
    return {
        "threshold": _design(old, thresholds),
        "magnitude, one-shot": _design(plain, [_magnitude(cost) for cost in TARGETS]),
        "cost-aware, one-shot": _design(plain, [_cost_aware(cost, "one_shot") for cost in TARGETS]),
        "cost-aware, gradual, hold": _design(_hold(FIRST_EPOCHS), [_cost_aware(cost, "gradual") for cost in TARGETS]),
    }


def recipe_ways(epochs: int) -> Mapping[str, Design]:
    """From the papers' training to the new one, one change after another."""
    papers = TrainingSettings(epochs=epochs)
    small_batch = papers.model_copy(update={"batch_size": 64})
    steps = {
        "papers: restarts, batch 1024, rate 0.01": papers,
        "batch 64": small_batch,
        "hold instead of restarts": _hold(epochs),
        "rate 0.02": _hold(epochs, 0.02),
    }
    return {name: _design(training, []) for name, training in steps.items()}


def small_net_ways() -> Mapping[str, Design]:
    """BacalhauNet pruned as in its paper's table 6, and its layers with fewer bits by targets, as many epochs."""
    papers = TrainingSettings(epochs=6, batch_size=64, learning_rate=0.01, weight_decay=1e-4, restart_epochs=3)
    settings = ((5e-5, 0.15), (1e-4, 0.25), (1e-5, 0.25))
    thresholds = [ThresholdStage(epsilon=epsilon, weight_decay=decay, epochs=3) for decay, epsilon in settings]
    targets = (0.0165, 0.0118, 0.0083, 0.0059)
    stages = [CostAwareStage(inference_cost=cost, epochs=2) for cost in targets]
    return {
        "BacalhauNet, its paper's method": _design(papers, thresholds),
        "mixed bits, cost targets": Design(architecture=MIXED_BITS, training=_hold(7), stages=tuple(stages)),
    }


def bacalhaunet_by_targets() -> Design:
    """BacalhauNet with 6 bits, trained and pruned in the new way: epochs and costs are about those of its paper's."""
    stages = [CostAwareStage(inference_cost=cost, epochs=3) for cost in (0.0372, 0.0231, 0.0164)]
    return _design(_hold(6), stages)


def format_small_net(results: Results) -> str:
    """Each stage's cost and accuracy, and at what share of BacalhauNet's cost the small network is as accurate."""
    old, new = results.values()
    header = ["way, stage", "inference cost", "accuracy", "lowest seed", "minutes", "cost at equal accuracy"]
    rows = []
    for way, curves in results.items():
        for stage, seeds in enumerate(zip(*curves, strict=True)):
            costs = [evaluation.cost.inference_cost for evaluation in seeds]
            accuracies = [evaluation.accuracy for evaluation in seeds]
            minutes = statistics.mean(sum(e.training_seconds for e in curve[: stage + 1]) / 60 for curve in curves)
            ratio = _format_ratio(new, statistics.mean(accuracies), statistics.mean(costs)) if curves is old else ""
            row = [f"{way}, {stage}", f"{statistics.mean(costs):.5f}", _format_mean(accuracies)]
            rows.append([*row, f"{100 * min(accuracies):.2f}", f"{minutes:.1f}", ratio])
    return _markdown(header, rows)


def find_cost(curves: Sequence[Sequence[Evaluation]], accuracy: float) -> float | None:
    """The least inference cost at which the mean curve of several seeds reaches an accuracy; None where it does not.

    Between two stages the accuracy is linear in the logarithm of the cost.
    """
    seeds = [sorted((e.cost.inference_cost, e.accuracy) for e in curve) for curve in curves]
    means: list[tuple[float, float]] = [
        (statistics.mean(cost for cost, _ in stage), statistics.mean(value for _, value in stage))
        for stage in zip(*seeds, strict=True)
    ]
    if means[0][1] >= accuracy:
        return means[0][0]
    for (low, first), (high, second) in itertools.pairwise(means):
        if first < accuracy <= second:
            return math.exp(math.log(low) + (accuracy - first) / (second - first) * math.log(high / low))
    return None


def format_pruning(results: Results, targets: Sequence[float] = TARGETS) -> str:
    """Accuracy at equal inference cost, mean and standard error over the seeds; then cost at equal accuracy."""
    header = ["way", *(f"{target:.4f}" for target in targets)]
    rows = [
        [way, *(_format_mean([interpolate(curve, target) for curve in curves]) for target in targets)]
        for way, curves in results.items()
    ]
    return _markdown(header, rows)


def format_recipe(results: Mapping[int, Results]) -> str:
    """Accuracy of each way at each number of epochs, and what the last change gave."""
    lengths = [count_of(epochs, "epoch") for epochs in results]
    header = ["change", *lengths, *(f"gain, {length}" for length in lengths)]
    ways = list(next(iter(results.values())))
    rows = []
    for index, way in enumerate(ways):
        accuracies = [[stages[-1].accuracy for stages in found[way]] for found in results.values()]
        gains = (
            [""] * len(results) if index == 0 else [_gain(found, ways[index - 1], way) for found in results.values()]
        )
        rows.append([way, *(_format_mean(values) for values in accuracies), *gains])
    return _markdown(header, rows)


def interpolate(curve: Sequence[Evaluation], cost: float) -> float | None:
    """Accuracy of a lineage at an inference cost, linear in its logarithm; None outside of its costs."""
    points = sorted((e.cost.inference_cost, e.accuracy) for e in curve)
    for (low, first), (high, second) in itertools.pairwise(points):
        if low <= cost <= high:
            share = (math.log(cost) - math.log(low)) / (math.log(high) - math.log(low))
            return first + share * (second - first)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    args = _parse_arguments(arguments)
    data = DatasetRequest(
        str(ensure_twin(args.frames_per_cell, seed=2018)), None, MIN_TRAINING_SNR_DB, VALIDATION_FRACTION
    )

    def run(ways: Mapping[str, Design]) -> Results:
        return run_campaign(Campaign(ways, args.seeds, data, args.folder, args.processes), _say)

    match args.table:
        case "pruning":
            print(format_pruning(run(pruning_ways())))
        case "recipe":
            print(format_recipe({epochs: run(recipe_ways(epochs)) for epochs in args.epochs}))
        case "small_net":
            print(format_small_net(run(small_net_ways())))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _design(training: TrainingSettings, stages: Sequence[PruningStage]) -> Design:
    return Design(architecture=BACALHAUNET, training=training, stages=tuple(stages))


def _hold(epochs: int, learning_rate: float = 0.01) -> TrainingSettings:
    return TrainingSettings(
        epochs=epochs, batch_size=64, learning_rate=learning_rate, restart_epochs=None, schedule="hold"
    )


def _magnitude(cost: float) -> MagnitudeStage:
    return MagnitudeStage(inference_cost=cost, ramp="one_shot", epochs=STAGE_EPOCHS)


def _cost_aware(cost: float, ramp: str) -> CostAwareStage:
    return CostAwareStage.model_validate({"inference_cost": cost, "ramp": ramp, "epochs": STAGE_EPOCHS})


def _gain(results: Results, before: str, after: str) -> str:
    """Of the same seeds: mean and standard error of the differences."""
    pairs = zip(results[before], results[after], strict=True)
    return _format_mean([new[-1].accuracy - old[-1].accuracy for old, new in pairs], sign="+")


def _format_ratio(curves: Sequence[Sequence[Evaluation]], accuracy: float, cost: float) -> str:
    found = find_cost(curves, accuracy)
    return "not reached" if found is None else f"{found / cost:.2f}"


def _format_mean(values: Sequence[float | None], sign: str = "") -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "-"
    mean = f"{100 * statistics.mean(known):{sign}.2f}"
    return mean if len(known) < 2 else f"{mean} ± {100 * statistics.stdev(known) / math.sqrt(len(known)):.2f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m workers.recipe_benchmark", description="What training and pruning give, with standard errors."
    )
    parser.add_argument("table", choices=["pruning", "recipe", "small_net"])
    parser.add_argument("--seeds", type=int, default=3, help="default 3")
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 20], help="of recipe; default 5 20")
    parser.add_argument("--frames-per-cell", type=int, default=128, help="of the twin; default 128")
    parser.add_argument("--processes", type=int, default=1, help="trainings at once, of one thread each; default 1")
    parser.add_argument("--folder", type=Path, default=Path("runs/recipe_benchmark"), help="where trainings lie")
    args = parser.parse_args(arguments)
    if args.seeds < 1 or min(args.epochs) < 1 or args.frames_per_cell < 8 or args.processes < 1:
        parser.error("expected at least 1 seed, 1 epoch, 8 frames per cell and 1 process")
    return args


if __name__ == "__main__":
    run_command(main)
