"""Which winners go to hardware, and how one is sent to the build queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.hardware_estimates import study_target
from search.measured_trials import MeasuredTrial
from search.objectives import measure_contributions
from search.reports.study_report import StudyReport
from search.stored_trial import StoredTrial
from search.study_data import study_split
from storage.builds import load_build, load_builds, queue_build, record_test_accuracy
from storage.dataset.frames import load_validation_sample
from storage.records import Build, BuildRequest, BuildState

if TYPE_CHECKING:  # it imports torch, which only a promotion needs
    from workers.accuracy import Accuracy

N_REFERENCE_FRAMES = 200


class PromotionError(Exception):
    """This trial cannot go to hardware."""


@dataclass(frozen=True)
class Winners:
    """Trials to promote, best first, and a sentence that says why these."""

    trials: tuple[MeasuredTrial, ...]
    reason: str


def choose_winners(report: StudyReport, top: int) -> Winners:
    """At most `top` trials of the front above the threshold, by the hypervolume that only they cover.

    Where none reaches the threshold: the most accurate of the front. The front has no trial that breaks a constraint.
    Float networks are passed over, and those whose builds would fail: FINN's estimate has fewer frames/s than wanted.
    """
    quantized = [trial for trial in report.front if trial.design.architecture.is_quantized]
    fast = [trial for trial in quantized if trial.hardware is None or trial.hardware.throughput_fps >= report.least_fps]
    if top == 0:
        return Winners((), "promotion.top is 0: nothing is promoted")
    if not fast:
        return Winners((), f"{_explain_no_winner(report, has_quantized=bool(quantized))}: nothing is promoted")
    useful = [trial for trial in fast if trial.accuracy >= report.threshold]
    if not useful:
        best = max(fast, key=lambda trial: trial.accuracy)
        return Winners((best,), _explain_below_threshold(best, report.threshold))
    contributions = measure_contributions(report.objectives, useful)
    order = sorted(range(len(useful)), key=lambda index: -contributions[index])
    winners = tuple(useful[index] for index in order[:top])
    return Winners(winners, f"{len(winners)} of {len(useful)} trials above the threshold are promoted")


def promote_trial(stored: StoredTrial, on_step: Callable[[str], None]) -> Build:
    """Exports the trial's network with its reference vectors, queues its build, and measures it on the test part.

    The build is queued first: FINN works while the test part is measured. A trial that waits, runs or is built for
    this target already keeps its build. Raises PromotionError.
    """
    if not stored.measured.design.architecture.is_quantized:
        raise PromotionError(
            f"trial {stored.number} of {stored.study_name} has 32-bit weights or activations; "
            "expected a network with at most 8 bits everywhere, for FINN builds no other"
        )
    name, stage = stored.study_name, stored.measured.last.stage
    builds = [b for b in load_builds(stored.database, name) if (b.trial_number, b.stage) == (stored.number, stage)]
    target = study_target(stored.config)
    build = next((b for b in builds if b.target == target and b.state is not BuildState.FAILED), None)
    if build is None:
        on_step(f"exporting trial {stored.number}")
        build = queue_build(stored.database, _export(stored, _known_test_accuracy(builds)))
    if build.test_accuracy is None:  # also where an earlier promotion was interrupted here
        on_step(f"measuring trial {stored.number} on the test part")
        record_test_accuracy(stored.database, build.build_id, measure_test(stored).overall)
        build = load_build(stored.database, build.build_id)
    return build


def measure_test(stored: StoredTrial) -> Accuracy:
    """Accuracy of the trial's network on the test part: for reports, never to choose by. Raises PromotionError."""
    from workers.accuracy import measure_test_accuracy  # imports torch, which only a promotion needs
    from workers.checkpoint import CheckpointError, load_weights
    from workers.model import build_model

    model = build_model(stored.measured.design.architecture, seed=0)
    try:
        load_weights(_find_checkpoint(stored), model)
    except CheckpointError as error:
        raise PromotionError(f"trial {stored.number} of {stored.study_name}: {error}") from error
    n_threads = max(1, (os.cpu_count() or 1) - 1)  # FINN builds meanwhile
    return measure_test_accuracy(model, stored.file, study_split(stored.config, stored.file), n_threads)


def _explain_no_winner(report: StudyReport, *, has_quantized: bool) -> str:
    if report.trials and not any(report.is_feasible(trial) for trial in report.trials):
        return f"no trial keeps the constraints ({' and '.join(map(str, report.constraints))})"
    if has_quantized:
        return f"FINN folds no trial of the front to {report.least_fps:,.0f} frames/s"
    return "no trial of the front is complete and quantized"


def _explain_below_threshold(best: MeasuredTrial, threshold: float) -> str:
    return (
        f"no trial reaches the accuracy threshold of {threshold:.2%}; the most accurate of the front, trial "
        f"{best.trial_number} with {best.accuracy:.2%}, is built all the same and marked as below it"
    )


def _export(stored: StoredTrial, test_accuracy: float | None) -> BuildRequest:
    """Writes the network into a folder of its stage, beside its weights."""
    from workers.checkpoint import CheckpointError  # imports torch, which only a promotion needs
    from workers.qonnx_export import ExportError, export_evaluation

    checkpoint = _find_checkpoint(stored)
    split = study_split(stored.config, stored.file)
    frames = load_validation_sample(stored.file, split, N_REFERENCE_FRAMES)
    try:
        folder = checkpoint.with_suffix("")
        model, vectors = export_evaluation(stored.measured.design.architecture, checkpoint, frames, folder)
    except (CheckpointError, ExportError) as error:
        raise PromotionError(f"trial {stored.number} of {stored.study_name}: {error}") from error
    return BuildRequest(
        study_name=stored.study_name,
        trial_number=stored.number,
        stage=stored.measured.last.stage,
        model=stored.artifacts.relative(model),
        reference_vectors=stored.artifacts.relative(vectors),
        target=study_target(stored.config),
        timeout_s=stored.config.fpga.timeout_s,
        is_below_threshold=stored.is_below_threshold,
        test_accuracy=test_accuracy,
    )


def _find_checkpoint(stored: StoredTrial) -> Path:
    if not stored.checkpoint.is_file():
        raise PromotionError(
            f"{stored.checkpoint}, the weights of trial {stored.number} of {stored.study_name}, is missing; "
            "expected the artifacts folder of the run that trained it (--artifacts DIR)"
        )
    return stored.checkpoint


def _known_test_accuracy(builds: Sequence[Build]) -> float | None:
    return next((build.test_accuracy for build in builds if build.test_accuracy is not None), None)
