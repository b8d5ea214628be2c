"""Numbers of bytes as a person reads them."""

from __future__ import annotations


def describe_bytes(n_bytes: int) -> str:
    """In GiB, below 1 GiB in MiB, below 1 MiB in KiB: never 0.0 of something that is there."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 2**10:.1f} KiB"
