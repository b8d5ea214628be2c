"""The data set a study reads: found or made, and checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from spaces.architecture import ArchitectureConfig
from spaces.study_config import DatasetPart, StudyConfig
from storage.radioml import (
    DatasetError,
    RadioMLFile,
    Split,
    check_frames,
    hash_frames,
    inspect_radioml,
    prescribed_split,
    select_training,
)
from storage.radioml_twin import ensure_twin

PATH_VARIABLE = "RADIOML_2018_01A"

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


def open_dataset(config: StudyConfig, on_progress: OnProgress = lambda *_: None) -> RadioMLFile:
    """The study's data file, whole, fit for its networks and large enough; the twin where no file is configured.

    Looked for at `dataset.path`, then at the path in RADIOML_2018_01A. Raises DatasetError.
    """
    file = inspect_radioml(_find_file(config.dataset, on_progress))
    _check_fits(file)
    _check_parts(config, file)
    check_frames(file, lambda done, total: on_progress("checking frames", done, total))
    return file


def study_split(config: StudyConfig, file: RadioMLFile) -> Split:
    """The frames of each part that the study uses."""
    dataset = config.dataset
    return prescribed_split(
        file.n_classes, len(file.snrs_db), file.frames_per_cell, dataset.validation_fraction, dataset.frames_per_cell
    )


def describe_dataset(file: RadioMLFile) -> dict[str, str]:
    """What is stored of the data with each study, to tell whether two runs read the same."""
    return {
        "data_file": str(file.path),
        "data_set": hash_frames(file),
        "data_frames": str(file.n_frames),
    }


def _find_file(dataset: DatasetPart, on_progress: OnProgress) -> Path:
    given = dataset.path or os.environ.get(PATH_VARIABLE)
    if given:
        return _expand_user(given)
    twin = dataset.twin
    return ensure_twin(
        twin.frames_per_cell,
        twin.seed,
        twin.profile,
        on_progress=lambda done, total: on_progress("generating the data set", done, total),
    )


def _expand_user(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise DatasetError(f"the data file is {given}; expected a user of this machine after ~") from None


def _check_fits(file: RadioMLFile) -> None:
    fields = ArchitectureConfig.model_fields
    for name, given in (("n_classes", file.n_classes), ("frame_length", file.frame_length)):
        if given != fields[name].default:
            raise DatasetError(
                f"{file.path}: {name} is {given}; expected {fields[name].default}, as the networks have it"
            )


def _check_parts(config: StudyConfig, file: RadioMLFile) -> None:
    wanted = config.dataset.frames_per_cell
    if wanted is not None and wanted > file.frames_per_cell:
        raise DatasetError(
            f"dataset.frames_per_cell is {wanted}; expected at most {file.frames_per_cell}, all that {file.path} has"
        )
    select_training(file, study_split(config, file), config.dataset.min_training_snr_db)
