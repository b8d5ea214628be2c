"""A build counts only when its graph gives the network's classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fpga.verification import Verification, VerificationError, is_class_equal, verify_outputs

STEP = 0.1


def write_files(folder: Path, logits: np.ndarray, classes: np.ndarray) -> tuple[Path, Path]:
    np.savez(folder / "proof.npz", logits=logits.astype(np.float32))
    np.savez(folder / "outputs.npz", classes=classes, logit_scale=STEP)
    return folder / "proof.npz", folder / "outputs.npz"


def make_logits(n_frames: int) -> np.ndarray:
    return STEP * np.random.default_rng(0).permuted(np.tile(np.arange(24), (n_frames, 1)), axis=1)


def test_equal_classes_are_counted(tmp_path: Path) -> None:
    logits = make_logits(200)

    assert verify_outputs(*write_files(tmp_path, logits, logits.argmax(1))) == Verification(200, 200)


def test_one_frame_in_two_hundred_may_differ(tmp_path: Path) -> None:
    logits = make_logits(200)
    classes = logits.argmax(1)
    classes[7] = (classes[7] + 1) % 24

    assert verify_outputs(*write_files(tmp_path, logits, classes)) == Verification(200, 199)


def test_two_frames_in_two_hundred_fail_the_build(tmp_path: Path) -> None:
    logits = make_logits(200)
    classes = logits.argmax(1)
    classes[:2] = (classes[:2] + 1) % 24

    with pytest.raises(VerificationError, match="another class than the trained network on 2 of 200 recorded frames"):
        verify_outputs(*write_files(tmp_path, logits, classes))


def test_each_class_of_a_tie_is_right() -> None:
    logits = np.array([[0.3, 0.3, 0.1], [0.3, 0.3000001, 0.1], [0.3, 0.4, 0.1]], dtype=np.float32)

    assert is_class_equal(logits, np.array([0, 0, 0]), STEP).tolist() == [True, True, False]
    assert is_class_equal(logits, np.array([1, 1, 1]), STEP).tolist() == [True, True, True]
    assert is_class_equal(logits, np.array([2, 2, 2]), STEP).tolist() == [False, False, False]


def test_frames_without_a_class_fail_the_build(tmp_path: Path) -> None:
    logits = make_logits(10)

    with pytest.raises(VerificationError, match="9 classes for 10 recorded frames"):
        verify_outputs(*write_files(tmp_path, logits, logits.argmax(1)[:9]))


def test_proof_without_frames_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="0 classes for 0 recorded frames"):
        verify_outputs(*write_files(tmp_path, np.zeros((0, 24)), np.zeros(0, dtype=np.int64)))
