"""The data set of a study: found or generated, and checked before anything starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from spaces.block_space import BlockSpace
from spaces.blocks import InputQuantizer
from spaces.distributions import Choices, Distribution, Drawable, FloatRange, IntRange, Shared
from spaces.search_space import SpacePart
from spaces.study_config import StudyConfig
from storage.data_identity import identify_data_set
from storage.dataset.frame_check import check_frames
from storage.dataset.frames import prepare_frames
from storage.dataset.quantizer_fit import choose_clip, find_misfit
from storage.dataset.radioml import DatasetError, RadioMLFile, inspect_radioml, read_spread
from storage.dataset.split import Split, prescribed_split, select_training
from storage.environment_variables import DATA_FILE_VARIABLE
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.cached_twin import ensure_twin
from workers.requests import DatasetRequest

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


def open_dataset(config: StudyConfig, on_progress: OnProgress = lambda *_: None) -> RadioMLFile:
    """The study's data file, checked: at `dataset.path`, else in RADIOML_2018_01A, else the twin.

    Raises DatasetError where it is damaged, too small, or does not fit the study's networks.
    """
    file = inspect_radioml(_find_file(config, on_progress))
    check_file(config, file)
    check_frames(file, lambda done, total: on_progress("checking frames", done, total))
    return file


def check_file(config: StudyConfig, file: RadioMLFile) -> None:
    """Raises DatasetError where the file is too small, or does not fit the study's networks."""
    check_fits(config.space, file.n_classes, file.frame_length, f"{file.path} has it")
    _check_parts(config, file)


def check_input_quantizer(config: StudyConfig, file: RadioMLFile) -> None:
    """Raise DatasetError where every input quantizer that the study can draw loses nearly all samples of the file."""
    fields = _input_quantizer_fields(config)
    if fields is None:
        return
    frames = read_spread(file)
    fitting = choose_clip(frames)
    bit_width, clips = int(max(_values_near(fields["bit_width"], 8))), _values_near(fields["clip"], fitting)
    quantizers = [InputQuantizer.model_validate({"bit_width": bit_width, "clip": clip}) for clip in clips]
    given = fields.get("features", "iq")
    drawable = given.values if isinstance(given, Shared) else given
    if "iq" not in (drawable.choices if isinstance(drawable, Choices) else (drawable,)):
        return  # the clip is for other quantities than amplitudes
    misfits = [find_misfit(frames, quantizer) for quantizer in quantizers]
    if None not in misfits:
        given = " or ".join(f"{clip:g}" for clip in clips)
        raise DatasetError(
            f"space.blocks[0].clip is {given}; expected about {fitting:.2g}: {misfits[-1]} (64 frames of {file.path})"
        )


def prepare_shared_frames(config: StudyConfig, file: RadioMLFile, on_progress: OnProgress) -> None:
    """Prepares the frames that workers share, where all trials have the same input quantizer.

    Where the quantizer is drawn, the first worker that needs the frames prepares them. Raises DatasetError.
    """
    fields = _input_quantizer_fields(config)
    if fields is None or any(isinstance(value, Distribution | Shared) for value in fields.values()):
        return
    quantizer = InputQuantizer.model_validate(fields)
    split = study_split(config, file)
    prepare_frames(file, split, quantizer, lambda done, total: on_progress("preparing frames", done, total))


def study_split(config: StudyConfig, file: RadioMLFile) -> Split:
    """The study's training, validation and test frames."""
    dataset = config.dataset
    return prescribed_split(
        file.n_classes, len(file.snrs_db), file.frames_per_cell, dataset.validation_fraction, dataset.frames_per_cell
    )


def request_frames(config: StudyConfig, file: RadioMLFile) -> DatasetRequest:
    """What workers are told of the data."""
    dataset = config.dataset
    path = str(file.path.resolve())
    return DatasetRequest(path, dataset.frames_per_cell, dataset.min_training_snr_db, dataset.validation_fraction)


def describe_dataset(file: RadioMLFile) -> dict[str, str]:
    """Identifies the data; stored with each study, so that a resumed run can check that it reads the same."""
    return {
        "data_file": str(file.path),
        "data_set": identify_data_set(file),
        "data_frames": str(file.n_frames),
    }


def open_fresh_twin(config: StudyConfig, file: RadioMLFile, most: int | None = None) -> RadioMLFile:
    """A twin of the next seed, which no search has seen; made where it is not there yet, in minutes.

    It has as many frames per cell as the study's, but at most `most`.

    Raises DatasetError where the study's data is no twin.
    """
    twin = config.dataset.twin
    if config.dataset.path is not None or os.environ.get(DATA_FILE_VARIABLE):
        raise DatasetError(f"the study's data is {file.path}; expected its twin, of which a fresh one can be made")
    frames_per_cell = twin.frames_per_cell if most is None else min(twin.frames_per_cell, most)
    return inspect_radioml(ensure_twin(frames_per_cell, twin.seed + 1, profile=twin.profile))


def list_class_names(config: StudyConfig) -> tuple[str, ...]:
    """Of the study's data, in the order of its labels.

    Those of the file that it names, or of its twin; where that file is not here or has another number of classes, those
    of RadioML 2018.01A if it has as many, else numbers.
    """
    n_classes = config.space.n_classes
    names = SIGNAL_SETS[config.dataset.twin.profile].class_names
    if config.dataset.path is not None:
        with contextlib.suppress(DatasetError):
            names = inspect_radioml(_expand_user(config.dataset.path)).class_names
    known = (names, SIGNAL_SETS["deepsig-2018"].class_names)
    return next((own for own in known if len(own) == n_classes), tuple(map(str, range(n_classes))))


def find_data_file(config: StudyConfig) -> Path | None:
    """The data file that the study or the environment names; None: its twin. Raises DatasetError."""
    given = config.dataset.path or os.environ.get(DATA_FILE_VARIABLE)
    return _expand_user(given) if given else None


def _find_file(config: StudyConfig, on_progress: OnProgress) -> Path:
    given = find_data_file(config)
    if given is not None:
        return given
    twin = config.dataset.twin
    signals = SIGNAL_SETS[twin.profile]
    source = f"the profile {twin.profile} of dataset.twin has it"
    check_fits(config.space, len(signals.class_names), signals.frame_length, source)
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


def check_fits(space: SpacePart, n_classes: int, frame_length: int, source: str) -> None:
    """Raises DatasetError where the study's networks are for other frames; `source` says whose they are."""
    pairs = {"n_classes": (space.n_classes, n_classes), "frame_length": (space.frame_length, frame_length)}
    problems = [
        f"space.{name} is {wanted}; expected {given}, as {source}"
        for name, (wanted, given) in pairs.items()
        if wanted != given
    ]
    if problems:
        raise DatasetError("\n".join(problems))


def _check_parts(config: StudyConfig, file: RadioMLFile) -> None:
    wanted = config.dataset.frames_per_cell
    if wanted is not None and wanted > file.frames_per_cell:
        raise DatasetError(
            f"dataset.frames_per_cell is {wanted}; expected at most {file.frames_per_cell}, all that {file.path} has"
        )
    for lowest in _list_lowest_snrs(config):
        select_training(file, study_split(config, file), lowest)


def _list_lowest_snrs(config: StudyConfig) -> list[int]:
    """Of the frames that some design of the study is trained on."""
    given = config.training.min_snr_db
    drawable = given.values if isinstance(given, Shared) else given
    match drawable:
        case Choices(choices):
            values: Sequence[object] = choices
        case IntRange(low, high):
            values = (low, high)
        case _:
            values = (drawable,)
    return [value if isinstance(value, int) else config.dataset.min_training_snr_db for value in values]


def _input_quantizer_fields(config: StudyConfig) -> dict[str, Drawable] | None:
    """Bit width and clip of the study's input quantizer; None where its networks begin with none."""
    first = config.space.blocks[0]
    if not isinstance(first, BlockSpace) or first.type != "input_quantizer":
        return None
    return {**InputQuantizer().model_dump(exclude={"type"}), **first.fields}


def _values_near(drawable: Drawable, wanted: float) -> list[float]:
    """The values that can be drawn; of a range only the nearest to the wanted one."""
    match drawable:
        case Shared(values=values):
            return _values_near(values, wanted)
        case Choices(choices):
            return [float(choice) for choice in choices if choice is not None]
        case IntRange(low, high) | FloatRange(low, high):
            return [min(max(wanted, low), high)]
    assert isinstance(drawable, int | float), "checked by the rule of the field"
    return [drawable]
