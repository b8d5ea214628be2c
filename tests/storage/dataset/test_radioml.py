"""The layout: what is read from a file, and each way in which a file can be wrong."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from storage.dataset.radioml import DatasetError, inspect_radioml, map_samples, read_spread
from storage.signals.radioml_classes import CLASS_NAMES
from tests.storage.layout_files import N_CLASSES, N_FRAMES, N_SNRS, SNRS_DB, replace, write_file
from tests.storage.unprivileged import run_as_nobody


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "radioml.hdf5")


def test_layout_is_inferred_from_y_and_z(path: Path) -> None:
    file = inspect_radioml(path)
    assert (file.path, file.n_classes, file.snrs_db) == (path, 24, tuple(range(-20, 32, 2)))
    assert (file.frames_per_cell, file.frame_length, file.n_frames) == (8, 2, 24 * 26 * 8)
    assert file.profile is None


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32", "float64", "bool"])
def test_any_type_of_y_is_read(path: Path, dtype: str) -> None:
    replace(path, "Y", lambda y: y.astype(dtype))
    assert inspect_radioml(path).frames_per_cell == 8


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "float64"])
def test_any_type_of_z_is_read(path: Path, dtype: str) -> None:
    replace(path, "Z", lambda z: z.astype(dtype))
    assert inspect_radioml(path).snrs_db == tuple(SNRS_DB)


def test_z_without_its_second_axis_is_read(path: Path) -> None:
    replace(path, "Z", lambda z: z[:, 0])
    assert inspect_radioml(path).frames_per_cell == 8


@pytest.mark.parametrize("frames_per_cell", [3, 5, 20])
def test_any_number_of_frames_per_cell_is_read(tmp_path: Path, frames_per_cell: int) -> None:
    file = inspect_radioml(write_file(tmp_path / "other.hdf5", frames_per_cell))
    assert file.frames_per_cell == frames_per_cell


# ---- classes and SNRs are the file's own


def test_24_classes_without_names_are_those_of_radioml_2018(path: Path) -> None:
    assert inspect_radioml(path).class_names == CLASS_NAMES


@pytest.mark.parametrize("n_classes", [2, 9, 11, 30])
def test_any_other_number_of_classes_has_numbers_for_names(tmp_path: Path, n_classes: int) -> None:
    file = inspect_radioml(write_file(tmp_path / "other.hdf5", n_classes=n_classes))
    assert (file.n_classes, file.class_names[:2]) == (n_classes, ("class 0", "class 1"))
    assert file.labels(np.array([0, 26 * 8 * 2 - 1, file.n_frames - 1])).tolist() == [0, 1, n_classes - 1]


@pytest.mark.parametrize("names", [["BPSK", "QPSK"], [b"BPSK", b"QPSK"], np.array(["BPSK", "QPSK"], "S8")])
def test_class_names_are_those_of_the_attribute(tmp_path: Path, names: object) -> None:
    path = write_file(tmp_path / "named.hdf5", n_classes=2)
    with h5py.File(path, "r+") as h5:
        h5.attrs["class_names"] = names
    assert inspect_radioml(path).class_names == ("BPSK", "QPSK")


@pytest.mark.parametrize("names", [["BPSK"], ["BPSK", "BPSK"], ["BPSK", "QPSK", "8PSK"]])
def test_names_that_do_not_fit_the_columns_of_y_are_refused(tmp_path: Path, names: list[str]) -> None:
    path = write_file(tmp_path / "named.hdf5", n_classes=2)
    with h5py.File(path, "r+") as h5:
        h5.attrs["class_names"] = names
    with pytest.raises(DatasetError, match=r"class_names is BPSK.*; expected 2 different names, one for each column"):
        inspect_radioml(path)


@pytest.mark.parametrize("dtype", ["S8", h5py.string_dtype(), h5py.string_dtype("ascii")])
def test_names_that_are_no_utf_8_are_read_as_far_as_they_go(tmp_path: Path, dtype: np.dtype) -> None:
    path = write_file(tmp_path / "named.hdf5", n_classes=2)
    with h5py.File(path, "r+") as h5:
        h5.attrs.create("class_names", [b"BPSK", b"\xb5PSK"], dtype=dtype)
    assert inspect_radioml(path).class_names == ("BPSK", "\N{REPLACEMENT CHARACTER}PSK")


def test_snr_labels_are_those_of_z(path: Path) -> None:
    replace(path, "Z", lambda z: z // 2 + 100)
    file = inspect_radioml(path)
    assert file.snrs_db == tuple(range(90, 116))
    assert file.snr_labels(np.array([0, 8, 4991])).tolist() == [90, 91, 115]


def test_file_of_one_snr_is_read(path: Path) -> None:
    replace(path, "Z", lambda z: z * 0 + 30)
    file = inspect_radioml(path)
    assert (file.snrs_db, file.frames_per_cell) == ((30,), 208)


# ---- the samples as they lie in the file


def test_contiguous_samples_are_mapped(path: Path) -> None:
    samples = map_samples(inspect_radioml(path))
    assert samples is not None
    with h5py.File(path) as h5:
        np.testing.assert_array_equal(samples, h5["X"][...])
    assert not samples.flags.writeable


@pytest.mark.parametrize("options", [{"chunks": True}, {"compression": "gzip"}, {"dtype": "float64"}, {"dtype": ">f4"}])
def test_samples_that_do_not_lie_there_as_such_are_not_mapped(path: Path, options: dict[str, object]) -> None:
    with h5py.File(path, "r+") as h5:
        samples = h5["X"][...]
        del h5["X"]
        h5.create_dataset("X", data=samples, **options)
    assert map_samples(inspect_radioml(path)) is None


def write_samples_as(path: Path, encoding: h5py.h5t.TypeFloatID, layout: int) -> NDArray[np.float32]:
    """Puts the same samples in the place of X, encoded and laid out otherwise."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(layout)
    with h5py.File(path, "r+") as h5:
        samples: NDArray[np.float32] = h5["X"][...]
        del h5["X"]
        space = h5py.h5s.create_simple(samples.shape)
        h5py.h5d.create(h5.id, b"X", encoding, space, creation).write(h5py.h5s.ALL, h5py.h5s.ALL, samples)
    return samples


def test_floats_of_another_encoding_are_not_mapped(path: Path) -> None:
    """HDF5 converts them; their four bytes are not those of float32."""
    encoding = h5py.h5t.IEEE_F32LE.copy()
    encoding.set_fields(30, 23, 7, 0, 23)
    encoding.set_ebias(63)
    samples = write_samples_as(path, encoding, h5py.h5d.CONTIGUOUS)
    file = inspect_radioml(path)
    assert map_samples(file) is None
    np.testing.assert_array_equal(read_spread(file)[[0, -1]], samples[[0, -1]])


def test_samples_within_the_description_of_the_data_set_are_not_mapped(path: Path) -> None:
    small = write_file(path, frames_per_cell=3, n_classes=2)
    samples = write_samples_as(small, h5py.h5t.IEEE_F32LE, h5py.h5d.COMPACT)
    file = inspect_radioml(small)
    assert map_samples(file) is None
    np.testing.assert_array_equal(read_spread(file)[[0, -1]], samples[[0, -1]])


@pytest.mark.parametrize("userblock_size", [512, 4096])
def test_samples_behind_a_user_block_are_mapped(path: Path, userblock_size: int) -> None:
    other = path.with_name("with_user_block.hdf5")
    with h5py.File(path) as source, h5py.File(other, "w", userblock_size=userblock_size) as h5:
        for name in "XYZ":
            source.copy(name, h5)
        expected = source["X"][...]
    np.testing.assert_array_equal(map_samples(inspect_radioml(other)), expected)


# ---- files that are refused


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere.hdf5 does not exist; expected a RadioML 2018.01A HDF5 file"):
        inspect_radioml(tmp_path / "nowhere.hdf5")


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is a folder; expected"):
        inspect_radioml(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 1000])
def test_file_that_is_not_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.hdf5").write_bytes(content)
    with pytest.raises(DatasetError, match=r"page.hdf5 is no readable HDF5 file"):
        inspect_radioml(tmp_path / "page.hdf5")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_truncated_file_is_refused(path: Path, kept: float) -> None:
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(DatasetError, match=r"is truncated at \d+ bytes; expected a whole file"):
        inspect_radioml(path)


def test_unreadable_file_is_refused(public_folder: Path) -> None:
    path = write_file(public_folder / "radioml.hdf5")
    path.chmod(0)
    assert run_as_nobody(_inspect, path) == [f"dataset file {path} cannot be opened: permission denied"]


def _inspect(path: Path) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        inspect_radioml(path)
    return [str(caught.value)]


@pytest.mark.parametrize("name", ["X", "Y", "Z"])
def test_missing_data_set_is_refused(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as h5:
        del h5[name]
    with pytest.raises(DatasetError, match=r"holds [XYZ], [XYZ]; expected data sets X, Y and Z"):
        inspect_radioml(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "X",
            lambda x: x.transpose(0, 2, 1)[:, :, :1],
            r"shape of X is \(4992, 2, 1\); expected \(frames, samples, 2\)",
        ),
        ("X", lambda x: x[:, 0], r"shape of X is \(4992, 2\); expected \(frames, samples, 2\)"),
        ("X", lambda x: x[:0], r"shape of X is \(0, 2, 2\); expected \(frames, samples, 2\)"),
        ("X", lambda x: x[:-1], r"shape of Y is \(4992, 24\); expected \(4991, classes\), one-hot"),
        ("X", lambda x: x.astype(np.complex64), r"type of X is complex64; expected float32"),
        (
            "Y",
            lambda y: y[:, :1],
            r"shape of Y is \(4992, 1\); expected \(4992, classes\), one-hot, at least 2",
        ),
        ("Y", lambda y: y[:, :16], r"frame 8 is class 0 at -18 dB; expected class 0 at -20 dB"),
        ("Y", lambda y: y[:, :11], r"holds 4992 frames; expected a multiple of 286, 11 classes at 26 SNRs in cells of"),
        ("Y", lambda y: y.argmax(axis=1), r"shape of Y is \(4992,\); expected \(4992, classes\), one-hot"),
        ("Y", lambda y: y * 2, r"row 0 of Y is \[2, 0.*\]; expected one 1 and zeros"),
        ("Y", lambda y: y + 1 - y, r"row 0 of Y is \[1, 1.*\]; expected one 1 and zeros"),
        ("Z", lambda z: z[:-1], r"shape of Z is \(4991, 1\); expected \(4992, 1\), SNR in dB"),
        ("Z", lambda z: z + 0.5, r"row 0 of Z is -19.5; expected a whole number of dB"),
        (
            "Z",
            lambda z: np.where(z == -20, 1e300, z),
            r"row 0 of Z is 1e\+300; expected a whole number of dB from -200",
        ),
        ("Z", lambda z: z - 181, r"row 0 of Z is -201.0; expected a whole number of dB from -200 to 200"),
        ("Z", lambda z: z * np.nan, r"row 0 of Z is nan; expected a whole number of dB"),
        ("Z", lambda z: z.astype("S3"), r"type of Z is \|S3; expected numbers"),
    ],
)
def test_wrong_shape_type_or_value_is_refused(
    path: Path, name: str, change: Callable[[NDArray[np.generic]], NDArray[np.generic]], message: str
) -> None:
    replace(path, name, change)
    with pytest.raises(DatasetError, match=message):
        inspect_radioml(path)


# ---- values that lie elsewhere


@pytest.mark.parametrize("name", ["X", "Y", "Z"])
def test_link_to_another_file_is_refused(path: Path, name: str) -> None:
    """The other file has a data set of the right shape, at another place."""
    other = path.with_name("other.hdf5")
    shutil.copy(path, other)
    with h5py.File(path, "r+") as h5:
        h5.move(name, "unused")
        h5[name] = h5py.ExternalLink("other.hdf5", name)
    message = (
        rf"{name} is a link to other.hdf5:{name}, outside of the file; expected all data in the file that is named"
    )
    with pytest.raises(DatasetError, match=message):
        inspect_radioml(path)


@pytest.mark.parametrize("target", ["/group/X", "/group/link"])
def test_link_that_leads_out_of_the_file_is_refused(path: Path, target: str) -> None:
    other = path.with_name("other.hdf5")
    shutil.copy(path, other)
    with h5py.File(path, "r+") as h5:
        del h5["X"]
        h5["group"] = h5py.ExternalLink("other.hdf5", "/") if target == "/group/X" else h5.create_group("inner")
        if target == "/group/link":
            h5["group/link"] = h5py.ExternalLink("other.hdf5", "X")
        h5["X"] = h5py.SoftLink(target)
    with pytest.raises(DatasetError, match=rf"X is a link to {target}, which is not in the file; expected all data in"):
        inspect_radioml(path)


def test_link_that_leads_nowhere_is_told(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5.move("X", "frames")
        h5["X"] = h5py.SoftLink("/no such frames")
    with pytest.raises(DatasetError, match=r"X is a link to /no such frames, which is not in the file; expected all"):
        inspect_radioml(path)


@pytest.mark.parametrize("link", [h5py.SoftLink("/group/frames"), h5py.HardLink()])
def test_links_within_the_file_are_followed(path: Path, link: h5py.SoftLink | h5py.HardLink) -> None:
    with h5py.File(path, "r+") as h5:
        expected = h5["X"][...]
        h5.create_group("group").move("/X", "frames")
        h5["X"] = link if isinstance(link, h5py.SoftLink) else h5["group/frames"]
    np.testing.assert_array_equal(map_samples(inspect_radioml(path)), expected)


@pytest.mark.parametrize("name", ["X", "Y", "Z"])
@pytest.mark.parametrize("is_virtual", [True, False], ids=["virtual", "external"])
def test_values_in_other_files_are_refused(path: Path, name: str, is_virtual: bool) -> None:
    with h5py.File(path, "r+", libver="latest") as h5:
        values = h5[name][...]
        del h5[name]
        if is_virtual:
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[...] = h5py.VirtualSource("other.hdf5", name, shape=values.shape)
            h5.create_virtual_dataset(name, layout)
        else:
            h5.create_dataset(name, data=values, external=[(path.with_name("values"), 0, values.nbytes)])
    with pytest.raises(DatasetError, match=rf"the values of {name} lie in other files; expected all data in the file"):
        inspect_radioml(path)


def test_no_file_is_opened_on_a_data_file_s_word(path: Path) -> None:
    """Who opens a pipe that nobody writes waits until the alarm."""
    os.mkfifo(path.with_name("pipe"))
    with h5py.File(path, "r+") as h5:
        del h5["X"]
        h5["X"] = h5py.ExternalLink("pipe", "X")
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("the pipe was opened"))
    signal.alarm(20)
    try:
        with pytest.raises(DatasetError, match=r"X is a link to pipe:X"):
            inspect_radioml(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", ["Y", "Z"])
@pytest.mark.parametrize("n_written", [0, 1000])
@pytest.mark.parametrize("options", [{"chunks": True}, {"chunks": (500, 1), "compression": "gzip"}])
def test_labels_that_were_never_written_are_refused(
    path: Path, name: str, n_written: int, options: dict[str, object]
) -> None:
    with h5py.File(path, "r+") as h5:
        values = h5[name][...]
        del h5[name]
        h5.create_dataset(name, values.shape, values.dtype, **options)[:n_written] = values[:n_written]
    with pytest.raises(DatasetError, match=rf"{name} was never written, or only in part; expected all 4992 rows"):
        inspect_radioml(path)


def test_all_wrong_shapes_are_reported_at_once(path: Path) -> None:
    replace(path, "Y", lambda y: y[:, :1])
    replace(path, "Z", lambda z: z[:-1])
    with pytest.raises(DatasetError, match=r"(?s)shape of Y .*shape of Z "):
        inspect_radioml(path)


def test_order_by_snr_then_class_is_refused(path: Path) -> None:
    order = np.arange(N_FRAMES).reshape(N_CLASSES, N_SNRS, -1).transpose(1, 0, 2).ravel()
    replace(path, "Y", lambda y: y[order])
    replace(path, "Z", lambda z: z[order])
    with pytest.raises(DatasetError, match=r"frame 8 is 4ASK at -20 dB; expected OOK at -18 dB, as frames are ordered"):
        inspect_radioml(path)


def test_two_swapped_frames_are_found(path: Path) -> None:
    order = np.arange(N_FRAMES)
    order[[7, 8]] = [8, 7]
    replace(path, "Z", lambda z: z[order])
    with pytest.raises(DatasetError, match=r"frame 7 is OOK at -18 dB; expected OOK at -20 dB"):
        inspect_radioml(path)


def test_class_that_changes_within_a_cell_is_found_at_its_end(path: Path) -> None:
    order = np.arange(N_FRAMES)
    order[[207, 208]] = [208, 207]
    replace(path, "Y", lambda y: y[order])
    with pytest.raises(DatasetError, match=r"frame 207 is 4ASK at 30 dB; expected OOK at 30 dB"):
        inspect_radioml(path)


def test_cells_of_unequal_size_are_refused(path: Path) -> None:
    for name in "XYZ":
        replace(path, name, lambda values: values[:-1])
    with pytest.raises(DatasetError, match=r"holds 4991 frames; expected a multiple of 624, 24 classes at 26 SNRs"):
        inspect_radioml(path)
