"""Tells the C library to keep freed memory; otherwise large batches spend much of a step on page faults."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Options of glibc's mallopt (malloc.h)."""

_NEVER_BYTES = 2**31 - 1
_TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> None:
    """From now on the process keeps freed memory and uses it again. Does nothing where the C library is not glibc.

    Without it, large tensors are mapped, zeroed and unmapped at each step. Call it before the first of them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for option, value in (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, _NEVER_BYTES),
        (_M_TOP_PAD, _TOP_PAD_BYTES),
    ):
        mallopt(option, value)
