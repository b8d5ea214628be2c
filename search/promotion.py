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
from search.study_data import study_split
from search.study_report import StudyReport
from spaces.study_config import StudyConfig
from storage.artifacts import ArtifactStore
from storage.builds import load_build, load_builds, queue_build, record_test_accuracy
from storage.database import Database
from storage.dataset.frames import Frames, load_validation_sample
from storage.dataset.radioml import RadioMLFile
from storage.dataset.split import Split
from storage.evaluations import load_trial_evaluations
from storage.records import Build, BuildRequest, BuildState

if TYPE_CHECKING:  # it imports torch, which only a promotion needs
    from workers.accuracy import Accuracy

N_PROOF_FRAMES = 200


class PromotionError(Exception):
    """This trial cannot go to hardware."""


@dataclass(frozen=True)
class Choice:
    """Trials to promote, best first, and a sentence that says why these."""

    trials: tuple[MeasuredTrial, ...]
    is_below_threshold: bool
    reason: str


def choose_winners(report: StudyReport, top: int) -> Choice:
    """At most `top` trials of the front above the threshold, by the hypervolume that only they cover.

    Only feasible trials are on the front: those that break a constraint of the study are never promoted.

    Where none reaches the threshold: the most accurate of the front, marked. Float networks are passed over, and those
    whose builds would fail, as FINN's estimate stays below the frames/s asked for.
    """
    quantized = [trial for trial in report.front if _is_quantized(trial)]
    front = [
        trial for trial in quantized if trial.hardware is None or trial.hardware.throughput_fps >= report.least_fps
    ]
    if top == 0:
        return Choice((), False, "promotion.top is 0: nothing is promoted")
    if report.trials and not any(report.is_feasible(trial) for trial in report.trials):
        bounds = " and ".join(map(str, report.constraints))
        return Choice((), False, f"no trial keeps the constraints ({bounds}): nothing is promoted")
    if quantized and not front:
        return Choice(
            (), False, f"FINN folds no trial of the front to {report.least_fps:,.0f} frames/s: nothing is promoted"
        )
    if not front:
        return Choice((), False, "no trial of the front is complete and quantized: nothing is promoted")
    feasible = [trial for trial in front if trial.accuracy >= report.threshold]
    if not feasible:
        best = max(front, key=lambda trial: trial.accuracy)
        return Choice((best,), True, _describe_below_threshold(best, report.threshold))
    contributions = measure_contributions(report.objectives, feasible)
    order = sorted(range(len(feasible)), key=lambda index: -contributions[index])
    winners = tuple(feasible[index] for index in order[:top])
    return Choice(winners, False, f"{len(winners)} of {len(feasible)} trials above the threshold are promoted")


def promote_trial(
    database: Database,
    artifacts: ArtifactStore,
    config: StudyConfig,
    file: RadioMLFile,
    trial: MeasuredTrial,
    on_step: Callable[[str], None] = lambda _: None,
) -> Build:
    """Exports the trial's network with its proof, queues its build, and measures it once on the test part.

    The build is queued first: FINN works while the test part is measured. Idempotent: a trial that waits, runs or is
    built for this target already keeps its build. Raises PromotionError.
    """
    if not _is_quantized(trial):
        raise PromotionError(
            f"trial {trial.trial_number} of {config.study.name} has 32-bit weights or activations; "
            "expected a network with at most 8 bits everywhere, for FINN builds no other"
        )
    builds = [b for b in load_builds(database, config.study.name) if b.trial_number == trial.trial_number]
    target = study_target(config)
    build = next((b for b in builds if b.target == target and b.state is not BuildState.FAILED), None)
    split = study_split(config, file)
    if build is None:
        checkpoint = find_checkpoint(database, artifacts, config.study.name, trial.trial_number)
        on_step(f"exporting trial {trial.trial_number}")
        model, proof = _export(config, trial, checkpoint, load_validation_sample(file, split, N_PROOF_FRAMES))
        build = queue_build(
            database,
            BuildRequest(
                study_name=config.study.name,
                trial_number=trial.trial_number,
                model=artifacts.relative(model),
                reference_vectors=artifacts.relative(proof),
                target=target,
                timeout_s=config.fpga.timeout_s,
                is_below_threshold=trial.accuracy < config.objectives.accuracy.threshold,
                test_accuracy=_known_test_accuracy(builds),
            ),
        )
    if build.test_accuracy is None:  # also where an earlier promotion was interrupted here
        on_step(f"measuring trial {trial.trial_number} on the test part")
        checkpoint = find_checkpoint(database, artifacts, config.study.name, trial.trial_number)
        record_test_accuracy(database, build.build_id, measure_test(trial, checkpoint, file, split).overall)
        build = load_build(database, build.build_id)
    return build


def _describe_below_threshold(best: MeasuredTrial, threshold: float) -> str:
    return (
        f"no trial reaches the accuracy threshold of {threshold:.2%}; the most accurate of the front, trial "
        f"{best.trial_number} with {best.accuracy:.2%}, is built all the same and marked as below it"
    )


def _is_quantized(trial: MeasuredTrial) -> bool:
    return trial.design.architecture.is_quantized


def find_checkpoint(database: Database, artifacts: ArtifactStore, study_name: str, trial_number: int) -> Path:
    """The weights at the end of the trial's last stage. Raises PromotionError where they are not there."""
    evaluations = load_trial_evaluations(database, study_name, trial_number)
    if not evaluations:
        raise PromotionError(f"trial {trial_number} of {study_name} has no evaluation in the database")
    path = artifacts.path(evaluations[-1].checkpoint)
    if not path.is_file():
        raise PromotionError(
            f"{path}, the weights of trial {trial_number} of {study_name}, is missing; "
            "expected the artifacts folder of the run that trained it (--artifacts DIR)"
        )
    return path


def _export(config: StudyConfig, trial: MeasuredTrial, checkpoint: Path, frames: Frames) -> tuple[Path, Path]:
    from workers.checkpoint import CheckpointError  # imports torch, which only a promotion needs
    from workers.qonnx_export import ExportError, export_evaluation

    architecture = trial.design.architecture
    try:
        return export_evaluation(architecture, checkpoint, frames, checkpoint.parent)
    except (CheckpointError, ExportError) as error:
        raise PromotionError(f"trial {trial.trial_number} of {config.study.name}: {error}") from error


def _known_test_accuracy(builds: Sequence[Build]) -> float | None:
    return next((build.test_accuracy for build in builds if build.test_accuracy is not None), None)


def measure_test(trial: MeasuredTrial, checkpoint: Path, file: RadioMLFile, split: Split) -> Accuracy:
    """Accuracy of the trial's network on the test part: for reports, never to choose by."""
    from workers.accuracy import measure_test_accuracy
    from workers.checkpoint import load_weights
    from workers.model import build_model

    model = build_model(trial.design.architecture, seed=0)
    load_weights(checkpoint, model)
    n_threads = max(1, (os.cpu_count() or 1) - 1)  # FINN builds meanwhile
    return measure_test_accuracy(model, file, split, n_threads)
