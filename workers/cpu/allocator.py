"""The C library's allocator told to keep freed memory: else much of a step on large batches goes into page faults."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Options of glibc's mallopt (malloc.h)."""

_NEVER_BYTES = 2**31 - 1
_TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> None:
    """From now on, freed memory stays with the process and is used again; nothing where the C library is not glibc.

    Large tensors are otherwise mapped, zeroed and unmapped at each step. To be called before the first of them.
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
