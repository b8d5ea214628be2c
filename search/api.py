"""The studies of a database for programs: `from search import open_study`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from search.hardware import POLL_S, pending_builds
from search.measured_trials import MeasuredPoint
from search.processes.local_services import run_build_worker
from search.promotion import PromotionError, promote_point
from search.reports.formats import point_as_json
from search.reports.study_report import StudyReport, load_study_report
from search.stored_point import find_point, open_stored_point
from search.study import StudyError, load_params
from search.study_data import list_class_names
from spaces.study_config import StudyConfig, parse_study_config
from storage.artifacts import DEFAULT_ARTIFACTS_FOLDER, ArtifactStore
from storage.builds import load_build
from storage.database import DEFAULT_DATABASE_URL, Database, open_existing_database
from storage.records import Build, BuildState, Cost
from storage.studies import load_study_record

if TYPE_CHECKING:
    import pandas as pd

    from workers.classifier import Classifier
    from workers.inference_cost import LayerCost
    from workers.model import Network


def open_study(
    name: str, storage: str = DEFAULT_DATABASE_URL, artifacts: Path | str = DEFAULT_ARTIFACTS_FOLDER
) -> StudyResults:
    """A study of the database, as it is now. Raises DatabaseError or StudyError where it is not there."""
    database = open_existing_database(storage)
    report = load_study_report(database, name)
    record = load_study_record(database, name)
    assert record is not None  # load_study_report raises before
    return StudyResults(report, parse_study_config(record.text, f"study {name}"), database, Path(artifacts))


@dataclass(frozen=True)
class StudyResults:
    """What a study has found. It does not change while the study goes on: open it again."""

    report: StudyReport
    config: StudyConfig
    database: Database
    artifacts: Path

    @property
    def name(self) -> str:
        """Of the study."""
        return self.report.study_name

    @property
    def trials(self) -> list[TrialResults]:
        """All trials that have a network, each after its last stage."""
        return [TrialResults(self, trial.last) for trial in self.report.trials]

    @property
    def front(self) -> list[TrialResults]:
        """The networks that no other beats in all objectives, from the best of the second one on."""
        return [TrialResults(self, point) for point in self.report.front]

    @property
    def builds(self) -> list[BuildResults]:
        """All builds that are finished, oldest first."""
        finished = [build for build in self.report.builds if build.state is BuildState.SUCCEEDED]
        return [BuildResults(build, self.artifacts) for build in finished]

    def trial(self, number: int, stage: int | None = None) -> TrialResults:
        """One trial after a stage, by default its last. Raises StudyError where it has no network."""
        return TrialResults(self, find_point(self.report, number, stage))

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each network: its measures, whether it is on the front, and the values that its trial drew.

        Raises ImportError where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("pandas is missing; expected it installed, as with: pip install pandas") from None
        front = {point.key for point in self.report.front}
        drawn = load_params(self.database, self.name)
        rows = [
            {**point_as_json(point, self.report), "is_on_front": point.key in front, **drawn[point.trial_number]}
            for point in self.report.points
        ]
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class TrialResults:
    """One network: a trial's at the end of a stage."""

    study: StudyResults
    point: MeasuredPoint

    @property
    def number(self) -> int:
        """Of the trial."""
        return self.point.trial_number

    @property
    def stage(self) -> int:
        """0: as it was trained; from 1 on, after so many rounds of pruning."""
        return self.point.stage

    @property
    def accuracy(self) -> float:
        """On validation frames, 0 to 1."""
        return self.point.accuracy

    @property
    def accuracy_by_snr(self) -> dict[int, float]:
        """The same for each SNR label in dB."""
        return dict(self.point.evaluation.accuracy_by_snr)

    @property
    def cost(self) -> LayeredCost:
        """Bit operations, weight bits and inference cost, in all and by layer."""
        return LayeredCost(self.point)

    @cached_property
    def network(self) -> Classifier:
        """The trained network. Raises CheckpointError where its weights are missing.

        Its classes have the names of the study's data, or where that file is not here those of RadioML 2018.01A, if it
        has as many, else numbers.
        """
        from workers.classifier import Classifier  # imports torch

        return Classifier(self._load_network(), list_class_names(self.study.config))

    def _load_network(self) -> Network:
        from workers.checkpoint import load_weights  # import torch
        from workers.model import Network, build_model

        architecture = self.point.architecture
        model = build_model(architecture, seed=0)
        load_weights(ArtifactStore(self.study.artifacts).path(self.point.evaluation.checkpoint), model)
        return Network(architecture, model.eval())

    def export_onnx(self, path: Path | str) -> Path:
        """Writes the network as QONNX, for one frame a call. Raises ExportError for float layers."""
        from workers.qonnx_export import ExportError, write_qonnx

        if not self.point.architecture.is_quantized:
            raise ExportError(f"trial {self.number} has 32-bit weights or activations; expected at most 8 bits")
        network = self._load_network()
        write_qonnx(network.model, network.architecture, Path(path))
        return Path(path)

    def build(self) -> BuildResults:
        """Its hardware for the study's board: promoted and built here where it is not yet, which takes minutes.

        Raises PromotionError where it cannot be built.
        """
        stored = open_stored_point(
            self.study.database.url, self.study.artifacts, self.study.name, self.number, self.stage
        )
        build = promote_point(stored, _say)
        if pending_builds([build]):
            log = self.study.artifacts.parent / "build_worker.log"
            with run_build_worker(self.study.database.url, self.study.artifacts, log) as worker:
                while pending_builds([build := load_build(self.study.database, build.build_id)]):
                    if (problem := worker.describe_end()) is not None:
                        raise PromotionError(problem)
                    time.sleep(POLL_S)
        if build.state is BuildState.FAILED:
            raise PromotionError(f"the build of {build.network} failed: {build.message}")
        return BuildResults(build, self.study.artifacts)


@dataclass(frozen=True)
class LayeredCost:
    """What a network costs by the challenge's rules."""

    point: MeasuredPoint

    @property
    def total(self) -> Cost:
        """Of the whole network."""
        return self.point.cost

    @property
    def layers(self) -> Sequence[LayerCost]:
        """Of each layer with weights."""
        from workers.inference_cost import count_layer_costs

        return count_layer_costs(self.point.architecture, self.point.evaluation.density)


@dataclass(frozen=True)
class BuildResults:
    """A build that is as far as this machine brings it."""

    build: Build
    artifacts: Path

    @property
    def folder(self) -> Path:
        """Its log, reports and generated code."""
        assert self.build.folder is not None  # it was begun
        return ArtifactStore(self.artifacts).path(self.build.folder)

    @property
    def reference_vectors(self) -> Path:
        """An .npz file: `frames` (n, channels, length) as the network is given them, and `logits` (n, n_classes)."""
        return ArtifactStore(self.artifacts).path(self.build.reference_vectors)

    @property
    def host_io(self) -> dict[str, object]:
        """What a host does around the FPGA; fpga/host_io.py says what its keys mean."""
        values: dict[str, object] = json.loads((self.folder / "output" / "host_io.json").read_text())
        return values


def _say(step: str) -> None:
    print(step, file=sys.stderr)


__all__ = ["StudyError", "StudyResults", "TrialResults", "open_study"]
