"""Estimates are kept for all studies: code that makes others must not be taken for that which made these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fpga.toolchain.finn import Finn
from storage.estimates import ESTIMATOR_VERSION
from tests.fpga.recorded_estimates import RECORDED, estimate_networks


@pytest.mark.slow
def test_estimates_are_those_of_their_version(finn: Finn, tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())

    assert (ESTIMATOR_VERSION, estimate_networks(finn, tmp_path)) == (
        recorded["estimator_version"],
        recorded["estimates"],
    ), f"other estimates need another ESTIMATOR_VERSION: raise it, then {recorded['made_by']}"
