"""Counted thresholds are those of a search, in whichever way they are counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.integer.threshold_counting import ThresholdCounter, make_counter
from workers.integer.thresholds import SumRange


def draw_thresholds(
    slopes: NDArray[np.float64], highest_code: int, largest_sum: int, seed: int = 0
) -> tuple[NDArray[np.int64], SumRange]:
    """Those of codes round(slope * sum + offset), with offsets such that most lie in the range of sums."""
    offsets = np.random.default_rng(seed).uniform(0, highest_code, len(slopes))
    positions = (np.arange(highest_code) + 0.5 - offsets[:, None]) / slopes[:, None]
    sums = SumRange(np.full(len(slopes), -largest_sum), np.full(len(slopes), largest_sum))
    return np.ceil(positions).clip(-largest_sum, largest_sum + 1).astype(np.int64), sums


def search(thresholds: NDArray[np.int64], sums: Tensor) -> Tensor:
    codes = [np.searchsorted(row, column, side="right") for row, column in zip(thresholds, sums.T.numpy(), strict=True)]
    return torch.from_numpy(np.stack(codes, axis=1)).to(sums.dtype)


def sums_to_try(thresholds: NDArray[np.int64], largest_sum: int) -> Tensor:
    """Both sums beside each threshold, the ends, and many between; (rows, channels)."""
    between = np.random.default_rng(1).integers(-largest_sum, largest_sum + 1, (2000, len(thresholds)))
    ends = np.full((1, len(thresholds)), largest_sum)
    beside = np.concatenate([thresholds.T, thresholds.T - 1]).clip(-largest_sum, largest_sum)
    return torch.from_numpy(np.concatenate([between, ends, -ends, beside]))


def name_way(counter: ThresholdCounter) -> str:
    return "search" if counter.affine is None else str(counter.affine[0].dtype)


@pytest.mark.parametrize(
    ("highest_code", "largest_sum", "way"),
    [
        (3, 10**3, "torch.float32"),
        (63, 10**4, "torch.float32"),
        (63, 2**24 - 1, "torch.float64"),
        (255, 2**23, "torch.float64"),
    ],
)
def test_each_way_counts_as_a_search_does(highest_code: int, largest_sum: int, way: str) -> None:
    slopes = highest_code / largest_sum * np.linspace(0.4, 3, 48)
    thresholds, sums = draw_thresholds(slopes, highest_code, largest_sum)
    counter = make_counter(thresholds, slopes, sums, torch.float32)
    assert name_way(counter) == way
    tried = sums_to_try(thresholds, largest_sum).float()
    assert torch.equal(counter(tried.clone()), search(thresholds, tried))


def test_channels_that_float32_is_too_coarse_for_are_counted_in_float64() -> None:
    slopes = np.concatenate([np.full(30, 0.01), np.full(3, 63 / 2**24)])
    thresholds, sums = draw_thresholds(slopes, 63, 2**24 - 1)
    counter = make_counter(thresholds, slopes, sums, torch.float32)
    assert name_way(counter) == "torch.float32"
    assert counter.exceptions is not None
    assert name_way(counter.exceptions) == "torch.float64"
    assert set(counter.exception_channels.tolist()) >= {30, 31, 32}
    tried = sums_to_try(thresholds, 2**24 - 1).float()
    assert torch.equal(counter(tried.clone()), search(thresholds, tried))


@pytest.mark.parametrize("sums_type", [torch.float32, torch.float64], ids=str)
def test_thresholds_of_ties_are_searched_for(sums_type: torch.dtype) -> None:
    """Half steps rounded to even: thresholds 2, 3, 6, 7, ... no affine function keeps away from the ties of."""
    thresholds = np.array([[2, 3, 6, 7, 10, 11, 14]])
    counter = make_counter(thresholds, np.array([0.5]), SumRange(np.array([0]), np.array([14])), sums_type)
    assert name_way(counter) == "search"
    tried = torch.arange(15, dtype=sums_type)[:, None]
    assert torch.equal(counter(tried.clone()), search(thresholds, tried))


@pytest.mark.parametrize("slope", [0.0, 1e-30, 1e30, np.inf])
def test_slopes_out_of_all_proportion_do_no_harm(slope: float) -> None:
    thresholds = np.array([[-5, -1, 3], [6, 6, 6], [-5, -5, 6], [-5, -5, -5]])
    sums = SumRange(np.full(4, -5), np.full(4, 5))
    counter = make_counter(thresholds, np.full(4, slope), sums, torch.float32)
    tried = torch.arange(-5.0, 6.0)[:, None].repeat(1, 4)
    assert torch.equal(counter(tried.clone()), search(thresholds, tried))


def test_float64_is_counted_in_tiles() -> None:
    slopes = np.full(7, 255 / 2**23)
    thresholds, sums = draw_thresholds(slopes, 255, 2**23)
    counter = make_counter(thresholds, slopes, sums, torch.float32)
    tried = torch.randint(-(2**23), 2**23, (12_345, 7), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(counter(tried.clone()), search(thresholds, tried))
