"""What workers are asked: a trial of the study, or one of its networks once more with a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.measured_trials import MeasuredPoint
from spaces.search_space import Design
from spaces.study_config import StudyConfig
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
        workers = self.config.workers
        return EvaluationRequest(
            study_name=self.config.study.name,
            trial_number=number,
            design=design,
            seed=seed,
            dataset=self.dataset,
            artifacts=str(self.artifacts.resolve()),
            study_started=self.study_started,
            n_threads=max(1, int(workers.cpus_per_trial)),
            use_gpu=workers.gpus_per_trial > 0,
            until=until,
        )

    def request_point(self, point: MeasuredPoint, seed: int) -> EvaluationRequest:
        """A point's design up to its own stage."""
        design = point.design.model_copy(update={"stages": point.design.stages[: point.stage]})
        return self.request_trial(point.trial_number, design, seed)
