"""Sizes in words: the unit fits the number."""

import pytest

from storage.byte_sizes import describe_bytes


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (2**30 - 2**20, "1023.0 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (19_500 * 2**30, "19500.0 GiB"),
    ],
)
def test_size_is_told_in_the_unit_that_fits(n_bytes: int, words: str) -> None:
    assert describe_bytes(n_bytes) == words
