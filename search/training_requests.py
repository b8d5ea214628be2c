"""What workers are asked: a trial of the study, or one of its networks once more with a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from search.measured_trials import MeasuredPoint
from search.study import RunningTrial
from search.trial_attributes import BASE, PARENT
from spaces.search_space import Design
from spaces.study_config import StudyConfig
from storage.database import Database
from storage.evaluations import load_trial_evaluations
from storage.records import Rung
from workers.requests import DatasetRequest, EvaluationRequest


@dataclass(frozen=True)
class TrainingPlace:
    """What all trainings of a study have in common."""

    config: StudyConfig
    dataset: DatasetRequest
    artifacts: Path
    """Root of the artifact store."""
    study_started: str
    """Tells apart two studies of one name."""

    def request_trial(self, number: int, design: Design, seed: int, until: Rung | None = None) -> EvaluationRequest:
        """A design with a seed; up to a rung, or None: to its end."""
        workers, min_snr_db = self.config.workers, design.training.min_snr_db
        dataset = self.dataset if min_snr_db is None else replace(self.dataset, min_training_snr_db=min_snr_db)
        return EvaluationRequest(
            study_name=self.config.study.name,
            trial_number=number,
            design=design,
            seed=seed,
            dataset=dataset,
            artifacts=str(self.artifacts.resolve()),
            study_started=self.study_started,
            n_threads=max(1, int(workers.cpus_per_trial)),
            use_gpu=workers.gpus_per_trial > 0,
            until=until,
        )

    def request_next(self, trial: RunningTrial, database: Database, until: Rung | None) -> EvaluationRequest:
        """A trial of the search, with what it goes on from: a parent's weights, or the stages of a campaign's base."""
        name, attributes = self.config.study.name, trial.trial.user_attrs
        parent, base = attributes.get(PARENT), attributes.get(BASE)
        seed = self.config.study.seed + trial.number
        request = self.request_trial(trial.number, trial.design, seed, until)
        request = replace(request, goes_on=bool(self.config.stages))
        if parent is not None:
            first = load_trial_evaluations(database, name, parent)[0]
            return replace(request, seed=first.seed, parent=first.checkpoint)
        last = None if base is None else load_trial_evaluations(database, name, base)[-1]
        if last is None or last.stage == len(trial.design.stages):  # a stage that prunes nothing trains anew
            return request
        return replace(request, seed=last.seed, base=str(PurePosixPath(last.checkpoint).parent))

    def request_point(self, point: MeasuredPoint, seed: int) -> EvaluationRequest:
        """A point's design up to its own stage."""
        design = point.design.model_copy(update={"stages": point.design.stages[: point.stage]})
        return self.request_trial(point.trial_number, design, seed)
