"""What a worker is asked, and what it answers; imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from spaces.search_space import Design
from storage.artifacts import ArtifactStore
from storage.records import Evaluation, Rung, RungResult

PROGRESS_FILE = "progress.json"
"""In a trial's folder: how far its worker is."""


@dataclass(frozen=True)
class DatasetRequest:
    """Which frames to train and choose on."""

    path: str
    frames_per_cell: int | None
    """Frames used of each (class, SNR); None for all."""
    min_training_snr_db: int
    validation_fraction: float


@dataclass(frozen=True)
class EvaluationRequest:
    """All that a worker needs for one trial; it travels to any machine."""

    study_name: str
    trial_number: int
    design: Design
    seed: int
    dataset: DatasetRequest
    artifacts: str
    """Absolute path of the artifact store; on a cluster, on a file system that all nodes share."""
    study_started: str
    """Start time of the study: tells apart two studies of one name, in another database or deleted since."""
    n_threads: int
    use_gpu: bool
    until: Rung | None = None
    """Where it pauses; None: it is trained to its end."""
    base: str | None = None
    """Artifact path of the folder of a finished trial of the same seed, whose stages are this design's first ones.

    They are taken over from there instead of being trained again, with the same result.
    """
    parent: str | None = None
    """Artifact path of the weights of the design's parent, trained with the same seed; without them it is trained."""
    goes_on: bool = False
    """Whether what a trial needs to go on from its last stage is kept: then it may be the base of others."""

    @property
    def identity(self) -> str:
        """Eight hexadecimal digits of the study and of all that the result depends on.

        The path of the data file is not among it: a study's frames are the same wherever they lie.
        """
        dataset = self.dataset
        frames = [dataset.frames_per_cell, dataset.min_training_snr_db, dataset.validation_fraction]
        content = json.dumps([self.study_started, self.design.model_dump_json(), self.seed, frames])
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        """Where the trial's files lie, never those of another design; it need not exist."""
        store = ArtifactStore(Path(self.artifacts))
        return store.evaluation_folder(self.study_name, self.trial_number, self.identity)


@dataclass(frozen=True)
class Completed:
    """A trial that was measured: one evaluation per stage, in order."""

    trial_number: int
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Paused:
    """A trial that reached the rung it was asked for, and can go on from there."""

    trial_number: int
    result: RungResult
    evaluations: tuple[Evaluation, ...]
    """Of the stages that are finished."""


@dataclass(frozen=True)
class Failed:
    """A trial that raised, or whose worker died."""

    request: EvaluationRequest
    kind: str
    """Name of the exception's type."""
    traceback: str
    is_infrastructure: bool
    """Whether the machine failed rather than the trial: worth another attempt."""

    @property
    def trial_number(self) -> int:
        """Of the request."""
        return self.request.trial_number
