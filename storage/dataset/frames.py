"""The frames of each part of a data set, held once for all processes of a machine."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from spaces.blocks import Features, InputQuantizer
from storage.dataset.features import compute_features
from storage.dataset.frame_cache import CacheError, Stored, open_cache, read_rows
from storage.dataset.input_codes import has_exact_codes, quantizer_scale
from storage.dataset.radioml import Indices, Progress, RadioMLFile, map_samples
from storage.dataset.split import Split, select_training

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frames:
    """Frames of one part, in file order: places in a store that, as a mapped file, all processes share.

    The store holds samples, or the codes of the network's own input quantizer: a quarter of the memory, and the network
    computes the same of them (`has_exact_codes`). Samples as float16 would not do: they change 1 % of 8-bit codes.
    """

    stored: Stored
    """(n_stored, k, frame_length): I and Q as float32 samples, or int8 codes of them or of features.

    Not all are of this part.
    """
    labels: Indices
    """(n,): index into the file's class names."""
    snr_db: Indices
    """(n,): SNR label."""
    positions: Indices | None = None
    """(n,): where in `stored` each frame lies; None where they are all of it, in order."""
    scale: np.float32 | None = None
    """What a code is to be multiplied by; None where samples are stored."""
    features: Features = "iq"
    """What `gather` makes of the samples, where those are stored; codes are of their quantizer's features already."""

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: Indices | slice) -> NDArray[np.float32]:
        """These frames, 0 being the first of this part, as a new array of samples or features (n, k, frame_length)."""
        stored = self.gather_stored(indices)
        if self.scale is None:
            return compute_features(np.asarray(stored, np.float32), self.features)
        return np.multiply(stored, self.scale, dtype=np.float32)

    def gather_stored(self, indices: Indices | slice) -> Stored:
        """These frames as they are stored, as a new array (n, k, frame_length)."""
        if self.positions is not None:
            places = self.positions[indices]
        else:
            places = np.arange(len(self))[indices] if isinstance(indices, slice) else indices
        if self.stored.flags.c_contiguous:
            return np.take(self.stored, places, axis=0)  # np.take would copy the whole of any other array first
        return np.ascontiguousarray(self.stored[places])

    def select(self, indices: Indices) -> Self:
        """These frames alone, of the same store."""
        positions = indices if self.positions is None else self.positions[indices]
        return replace(self, labels=self.labels[indices], snr_db=self.snr_db[indices], positions=positions)


def load_training_frames(file: RadioMLFile, split: Split, min_snr_db: int, quantizer: InputQuantizer | None) -> Frames:
    """The frames of `select_training`, for networks that begin with this input quantizer (None: with none)."""
    return _load_shared(file, split, select_training(file, split, min_snr_db), quantizer)


def load_validation_frames(file: RadioMLFile, split: Split, quantizer: InputQuantizer | None) -> Frames:
    """The validation part, all SNRs: what choices are made on. Of networks that begin with this input quantizer."""
    return _load_shared(file, split, split.validation, quantizer)


def load_validation_sample(file: RadioMLFile, split: Split, n_frames: int, features: Features = "iq") -> Frames:
    """At most `n_frames` of the validation part, evenly spread over classes and SNRs, in order."""
    rows = np.sort(split.validation)
    return _load_own(file, rows[spread_evenly(len(rows), n_frames)], features)


def spread_evenly(n_frames: int, most: int) -> Indices:
    """At most `most` places among so many frames, from the first to the last."""
    return np.unique(np.linspace(0, n_frames - 1, most).round().astype(np.int64))


def load_test_frames(file: RadioMLFile, split: Split, features: Features = "iq") -> Frames:
    """The test part, all SNRs; the only reader of it, for reports and the promotion gate, never for a choice."""
    rows = np.sort(split.test)
    samples = map_samples(file)
    if samples is None:
        return _load_own(file, rows, features)
    return Frames(samples.transpose(0, 2, 1), file.labels(rows), file.snr_labels(rows), rows, features=features)


def prepare_frames(
    file: RadioMLFile, split: Split, quantizer: InputQuantizer | None, on_progress: Progress | None = None
) -> None:
    """Makes what `load_training_frames` and `load_validation_frames` would make at their first call."""
    _open_store(file, _shared_rows(split), quantizer, on_progress)


def _load_shared(file: RadioMLFile, split: Split, indices: Indices, quantizer: InputQuantizer | None) -> Frames:
    rows, store = np.sort(indices), _open_store(file, _shared_rows(split), quantizer)
    positions = rows if store.rows is None else np.searchsorted(store.rows, rows)
    return Frames(store.stored, file.labels(rows), file.snr_labels(rows), positions, store.scale, store.features)


def _load_own(file: RadioMLFile, rows: Indices, features: Features) -> Frames:
    return Frames(read_rows(file, rows), file.labels(rows), file.snr_labels(rows), features=features)


def _shared_rows(split: Split) -> Indices:
    """All that training and choosing read, and nothing of the rest: one store serves both."""
    return np.sort(np.concatenate([split.train, split.validation]))


@dataclass(frozen=True)
class _Store:
    stored: Stored
    rows: Indices | None
    """Sorted rows of the file that are stored; None where all are."""
    scale: np.float32 | None
    features: Features = "iq"
    """Of samples, what is to be computed of them."""


def _open_store(
    file: RadioMLFile, rows: Indices, quantizer: InputQuantizer | None, on_progress: Progress | None = None
) -> _Store:
    """At least the sorted `rows` of the file.

    Codes where the quantizer is known, exact, and there is room for them; else the samples as they lie in the data
    file; where that is compressed or of another type, samples in a file of their own, one for all quantizers.
    Features of samples are then computed anew at each gather.
    """
    if quantizer is not None and has_exact_codes(quantizer):
        try:
            return _Store(open_cache(file, rows, quantizer, on_progress), rows, quantizer_scale(quantizer))
        except CacheError as error:
            logger.warning("%s; samples are used, four times the memory", error)
    features = "iq" if quantizer is None else quantizer.features
    samples = map_samples(file)
    if samples is not None:
        return _Store(samples.transpose(0, 2, 1), None, None, features)
    return _Store(open_cache(file, rows, None, on_progress), rows, None, features)
