"""A number with what it counts."""

from __future__ import annotations


def count_of(number: int, what: str) -> str:
    """Such as "1 trial" or "3 trials"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
