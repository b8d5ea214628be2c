"""Data files that are whole, but not fit for the study: each is refused before anything starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from search.study_data import check_input_quantizer, describe_dataset, open_dataset, study_split
from spaces.study_config import StudyConfig
from storage.dataset.radioml import DatasetError, inspect_radioml
from storage.twin.cached_twin import ensure_twin
from tests.search.radioml_files import SNRS_DB, write_tones
from tests.search.search_study import small_config


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config_of(path: Path | str, more: str = "") -> StudyConfig:
    return small_config(**{"space:": f"dataset: {{path: {path}{more}}}\nspace:"})


def test_file_of_the_right_layout_is_opened(tmp_path: Path) -> None:
    config = config_of(write_tones(tmp_path / "data.hdf5"), ", frames_per_cell: 8")
    file = open_dataset(config)
    assert (file.n_frames, len(study_split(config, file).validation)) == (4992, 624)


def test_data_set_is_known_by_its_frames_not_by_its_place(tmp_path: Path) -> None:
    one, same, other = (
        describe_dataset(inspect_radioml(ensure_twin(8, seed=seed, folder=tmp_path / name)))["data_set"]
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert one == same
    assert one != other


def test_twin_made_on_another_processor_is_the_same_data_set(tmp_path: Path) -> None:
    """Other vector instructions round samples otherwise."""
    one = ensure_twin(8, seed=1, folder=tmp_path)
    other = Path(shutil.copy(one, tmp_path / "other.hdf5"))
    with h5py.File(other, "r+") as h5:
        h5["X"][...] = np.nextafter(h5["X"][...], np.float32(np.inf))
    assert describe_dataset(inspect_radioml(other))["data_set"] == describe_dataset(inspect_radioml(one))["data_set"]


def test_frames_tell_data_sets_apart_that_are_no_whole_twins(tmp_path: Path) -> None:
    twin = ensure_twin(8, seed=1, folder=tmp_path)
    without, half = (Path(shutil.copy(twin, tmp_path / f"{name}.hdf5")) for name in ("without", "half"))
    with h5py.File(without, "r+") as h5:
        del h5.attrs["generator_version"]
    with h5py.File(half, "r+") as h5:
        for name in "XYZ":
            values = h5[name][::2]
            del h5[name]
            h5[name] = values
    described = {describe_dataset(inspect_radioml(path))["data_set"] for path in (twin, without, half)}
    assert len(described) == 3


@pytest.mark.parametrize(
    ("frames_per_cell", "snrs_db", "more", "message"),
    [
        (2, SNRS_DB, "", "frames per cell is 2; expected at least 3: one each to train, validate and test"),
        (
            8,
            SNRS_DB,
            ", frames_per_cell: 9",
            r"dataset.frames_per_cell is 9; expected at most 8, all that .*data\.hdf5",
        ),
        (
            8,
            (-20, -10),
            "",
            r"dataset.min_training_snr_db is -6; expected at most -10, the highest SNR of .*data\.hdf5",
        ),
    ],
    ids=["cells too small", "cells smaller than asked", "no SNR to train on"],
)
def test_file_without_the_frames_that_the_study_needs_is_refused(
    tmp_path: Path, frames_per_cell: int, snrs_db: tuple[int, ...], more: str, message: str
) -> None:
    path = write_tones(tmp_path / "data.hdf5", frames_per_cell, snrs_db)
    with pytest.raises(DatasetError, match=message):
        open_dataset(config_of(path, more))


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Each frame a tone of amplitude 1."""
    return write_tones(tmp_path / "data.hdf5")


def check_clip(path: Path, quantizer: str) -> None:
    config = small_config(
        **{
            "space:": f"dataset: {{path: {path}}}\nspace:",
            "{type: input_quantizer}": f"{{type: input_quantizer, {quantizer}}}",
        }
    )
    check_input_quantizer(config, inspect_radioml(path))


@pytest.mark.parametrize(
    ("quantizer", "given", "fate"),
    [
        ("clip: 1000", "1000", "below 3.91, half a step of 8 bits, and become code 0"),
        ("clip: 0.001", "0.001", "above 0.001 and are clipped"),
        ("clip: 10, bit_width: 2", "10", "below 2.5, half a step of 2 bits, and become code 0"),
        ("clip: {choices: [0.001, 1000]}", "0.001 or 1000", "below 3.91, half a step"),
        ("clip: {float: [300, 5000], log: true}", "300", "below 1.17, half a step"),
        ("clip: {int: [300, 5000]}, bit_width: {int: [2, 8]}", "300", "below 1.17, half a step of 8 bits"),
    ],
)
def test_input_quantizer_that_loses_the_signal_is_refused(tones: Path, quantizer: str, given: str, fate: str) -> None:
    with pytest.raises(DatasetError) as caught:
        check_clip(tones, quantizer)
    message = str(caught.value)
    assert message.startswith(f"space.blocks[0].clip is {given}; expected about 3: ")
    assert f"% of samples lie {fate}" in message
    assert message.endswith(f"(64 frames of {tones})")


@pytest.mark.parametrize(
    "quantizer",
    [
        "clip: 3",
        "clip: 0.5, bit_width: 2",
        "bit_width: {choices: [2, 4, 8]}",
        "clip: {choices: [0.001, 2.0, 1000]}",
        "clip: {float: [0.001, 1000], log: true}",
        "clip: 10, bit_width: {int: [2, 8]}",
    ],
)
def test_study_that_can_draw_a_fitting_quantizer_is_not_refused(tones: Path, quantizer: str) -> None:
    check_clip(tones, quantizer)


def test_study_without_an_input_quantizer_is_not_refused(tones: Path) -> None:
    text = f"dataset: {{path: {tones}}}\nspace:"
    config = small_config(**{"space:": text, "    - {type: input_quantizer}\n": ""})
    check_input_quantizer(config, inspect_radioml(tones))


def test_data_file_of_other_frames_and_classes_is_refused_with_both(tmp_path: Path) -> None:
    path = ensure_twin(8, seed=1, profile="rothe-9", folder=tmp_path)
    with pytest.raises(DatasetError) as caught:
        open_dataset(config_of(path))
    assert str(caught.value).splitlines() == [
        f"space.n_classes is 24; expected 9, as {path} has it",
        f"space.frame_length is 1024; expected 32, as {path} has it",
    ]


def test_profile_of_other_classes_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    config = small_config(**{"space:": "dataset: {twin: {profile: matlab-11}}\nspace:"})
    with pytest.raises(DatasetError) as caught:
        open_dataset(config)
    assert str(caught.value) == "space.n_classes is 24; expected 11, as the profile matlab-11 of dataset.twin has it"
    assert list(tmp_path.iterdir()) == []


def test_study_on_another_signal_set_opens_its_twin() -> None:
    text = "dataset: {twin: {profile: matlab-11, frames_per_cell: 8}}\nspace:\n  n_classes: 11"
    config = small_config(**{"space:": text, "out_features: 24": "out_features: 11"})
    file = open_dataset(config)
    assert (file.profile, file.n_classes, file.snrs_db, file.frame_length) == ("matlab-11", 11, (30,), 1024)
    assert file.class_names[-1] == "SSB-AM"


def test_path_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"the data file is ~no-such-user/data\.hdf5; expected a user of this machine"
    ):
        open_dataset(config_of("~no-such-user/data.hdf5"))
