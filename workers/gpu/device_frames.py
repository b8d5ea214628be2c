"""Frames in a device's memory, as they are stored: one copy for all trials of a process."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from storage.dataset.frames import Frames

MAX_COPIES = 4
"""Copies kept on devices: training and validation frames for two input quantizers."""

COPY_CHUNK = 65536
"""Frames copied at once: 128 MiB of codes."""


@dataclass(frozen=True)
class DeviceFrames:
    """Frames of one part on one device."""

    stored: Tensor
    """(n, 2, frame_length): int8 codes, or samples."""
    labels: Tensor
    """(n,) int64."""
    scale: float | None
    """A code times this is a sample; None where samples are stored."""

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (k, 2, frame_length) float32 and labels (k,) of frames `index` (k,) int64, a tensor on the device.

        The samples are those of `Frames.gather`. Nothing waits for the device.
        """
        samples = self.stored.index_select(0, index).float()
        return samples if self.scale is None else samples.mul_(self.scale), self.labels.index_select(0, index)


def frames_on_device(frames: Frames, device: torch.device) -> DeviceFrames:
    """These frames on this device, copied at the first call; later calls of the process return the same copy.

    Forgets the least recently used copy where there would be more than `MAX_COPIES`. Threads may call at once.
    """
    device = torch.empty(0, device=device).device  # "cuda" is the current one, by its number
    with _lock:
        for position, (known, copy) in enumerate(_copies):
            if known is frames and copy.stored.device == device:
                _copies.append(_copies.pop(position))
                return copy
        while len(_copies) >= MAX_COPIES:
            _copies.pop(0)
        _copies.append((frames, _copy_frames(frames, device)))
        return _copies[-1][1]


_lock = threading.Lock()
_copies: list[tuple[Frames, DeviceFrames]] = []
"""The least recently used first. Frames are compared by identity, because they are gigabytes."""


def _copy_frames(frames: Frames, device: torch.device) -> DeviceFrames:
    """Copies the rows of this part only; where they are samples, what is to be computed of them."""
    gather = frames.gather_stored if frames.features == "iq" else frames.gather
    first = torch.from_numpy(gather(slice(0, 1)))
    stored = torch.empty(len(frames), *first.shape[1:], dtype=first.dtype, device=device)
    for start in range(0, len(frames), COPY_CHUNK):
        rows = slice(start, start + COPY_CHUNK)
        stored[rows].copy_(torch.from_numpy(gather(rows)))
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # other trials read it on streams of their own
    scale = None if frames.scale is None else float(frames.scale)
    return DeviceFrames(stored, torch.from_numpy(frames.labels).to(device), scale)
