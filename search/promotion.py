"""Which winners go to hardware, and how one is sent to the build queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.hardware_estimates import study_target
from search.measured_trials import MeasuredPoint
from search.objectives import measure_contributions
from search.reports.study_report import StudyReport
from search.stored_point import StoredPoint
from search.study_data import study_split
from spaces.architecture import ArchitectureConfig
from spaces.study_config import StudyConfig
from storage.builds import load_build, load_builds, queue_build, record_test_accuracy
from storage.dataset.frames import load_validation_sample
from storage.dataset.radioml import RadioMLFile
from storage.records import Build, BuildRequest, BuildState

if TYPE_CHECKING:  # it imports torch, which only a promotion needs
    from workers.accuracy import Accuracy

N_REFERENCE_FRAMES = 200


class PromotionError(Exception):
    """This network cannot go to hardware."""


@dataclass(frozen=True)
class Winners:
    """Points to promote, best first, and a sentence that says why these."""

    points: tuple[MeasuredPoint, ...]
    reason: str
    unconfirmed: tuple[MeasuredPoint, ...] = ()
    """Those of the points that are to be trained with more seeds first; then the choice is made anew."""


def choose_winners(report: StudyReport) -> Winners:
    """At most `promotion.top` points of the front above the threshold, by the hypervolume that only they cover.

    A point is above it by the study's rule and all its trainings. Where none is: the most accurate of the front. The
    front has no point that breaks a constraint.
    Float networks are passed over, and those whose builds would fail: FINN's estimate has fewer frames/s than wanted.
    """
    quantized = [point for point in report.front if point.architecture.is_quantized]
    fast = [point for point in quantized if point.hardware is None or point.hardware.throughput_fps >= report.least_fps]
    promotion = report.promotion
    if promotion.top == 0:
        return Winners((), "promotion.top is 0: nothing is promoted")
    if not fast:
        return Winners((), f"{_explain_no_winner(report, has_quantized=bool(quantized))}: nothing is promoted")
    useful = [point for point in fast if report.judge(point).passes(report.threshold, promotion)]
    if not useful:
        best = max(fast, key=lambda point: report.judge(point).mean)
        return Winners((best,), _explain_below_threshold(best, report))
    contributions = measure_contributions(report.objectives, useful)
    order = sorted(range(len(useful)), key=lambda index: -contributions[index])
    winners = tuple(useful[index] for index in order[: promotion.top])
    unconfirmed = tuple(point for point in winners if report.judge(point).n_trainings < promotion.seeds)
    return Winners(winners, f"{len(winners)} of {len(useful)} points above the threshold are promoted", unconfirmed)


def promote_point(stored: StoredPoint, on_step: Callable[[str], None]) -> Build:
    """Exports the network with its reference vectors, queues its build, and measures it on the test part.

    The build is queued first: FINN works while the test part is measured. A network that waits, runs or is built for
    this target already keeps its build. Raises PromotionError.
    """
    point = stored.point
    if not point.architecture.is_quantized:
        raise PromotionError(
            f"{stored.name} has 32-bit weights or activations; "
            "expected a network with at most 8 bits everywhere, for FINN builds no other"
        )
    builds = [b for b in load_builds(stored.database, stored.study_name) if (b.trial_number, b.stage) == point.key]
    target = study_target(stored.config)
    build = next((b for b in builds if b.target == target and b.state is not BuildState.FAILED), None)
    if build is None:
        on_step(f"exporting {point.name}")
        build = queue_build(stored.database, _export(stored, _known_test_accuracy(builds)))
    if build.test_accuracy is None:  # also where an earlier promotion was interrupted here
        on_step(f"measuring {point.name} on the test part")
        record_test_accuracy(stored.database, build.build_id, measure_test(stored).overall)
        build = load_build(stored.database, build.build_id)
    return build


def measure_test(stored: StoredPoint) -> Accuracy:
    """Accuracy of the network on the test part: for reports, never to choose by. Raises PromotionError."""
    from workers.checkpoint import CheckpointError  # imports torch, which only a promotion needs

    try:
        return measure_weights(stored.point.architecture, _find_checkpoint(stored), stored.config, stored.file)
    except CheckpointError as error:
        raise PromotionError(f"{stored.name}: {error}") from error


def measure_weights(
    architecture: ArchitectureConfig, weights: Path, config: StudyConfig, file: RadioMLFile
) -> Accuracy:
    """The same for weights that are of no study. `config` splits the file. Raises CheckpointError."""
    from workers.accuracy import measure_test_accuracy  # imports torch, which only a promotion needs
    from workers.checkpoint import load_weights
    from workers.model import build_model

    model = build_model(architecture, seed=0)
    load_weights(weights, model)
    n_threads = max(1, (os.cpu_count() or 1) - 1)  # FINN builds meanwhile
    return measure_test_accuracy(model, file, study_split(config, file), n_threads, architecture.features)


def _explain_no_winner(report: StudyReport, *, has_quantized: bool) -> str:
    if report.trials and not any(map(report.is_feasible, report.points)):
        return f"no trial keeps the constraints ({' and '.join(map(str, report.constraints))})"
    if has_quantized:
        return f"FINN folds no trial of the front to {report.least_fps:,.0f} frames/s"
    return "no trial of the front is complete and quantized"


def _explain_below_threshold(best: MeasuredPoint, report: StudyReport) -> str:
    what = "no network's lower bound" if report.promotion.rule == "lower_bound" else "no network"
    return (
        f"{what} reaches the accuracy threshold of {report.threshold:.2%}; the most accurate of the front, "
        f"{best.name} with {report.judge(best)}, is built all the same and marked as below it"
    )


def _export(stored: StoredPoint, test_accuracy: float | None) -> BuildRequest:
    """Writes the network into a folder of its stage, beside its weights."""
    from workers.checkpoint import CheckpointError  # imports torch, which only a promotion needs
    from workers.qonnx_export import ExportError, export_evaluation

    checkpoint = _find_checkpoint(stored)
    split = study_split(stored.config, stored.file)
    frames = load_validation_sample(stored.file, split, N_REFERENCE_FRAMES, stored.point.architecture.features)
    try:
        folder = checkpoint.with_suffix("")
        model, vectors = export_evaluation(stored.point.architecture, checkpoint, frames, folder)
    except (CheckpointError, ExportError) as error:
        raise PromotionError(f"{stored.name}: {error}") from error
    return BuildRequest(
        study_name=stored.study_name,
        trial_number=stored.point.trial_number,
        stage=stored.point.stage,
        model=stored.artifacts.relative(model),
        reference_vectors=stored.artifacts.relative(vectors),
        target=study_target(stored.config),
        timeout_s=stored.config.fpga.timeout_s,
        is_below_threshold=stored.is_below_threshold,
        test_accuracy=test_accuracy,
    )


def _find_checkpoint(stored: StoredPoint) -> Path:
    if not stored.checkpoint.is_file():
        raise PromotionError(
            f"{stored.checkpoint}, the weights of {stored.name}, is missing; "
            "expected the artifacts folder of the run that trained it (--artifacts DIR)"
        )
    return stored.checkpoint


def _known_test_accuracy(builds: Sequence[Build]) -> float | None:
    return next((build.test_accuracy for build in builds if build.test_accuracy is not None), None)
