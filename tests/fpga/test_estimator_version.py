"""Estimates are kept for all studies; code that makes others must not be taken for that which made these."""

import hashlib
from pathlib import Path

from fpga.build_cache import IN_FINN_CODE
from storage.estimates import ESTIMATOR_VERSION

ROOT = Path(__file__).parents[2]

OTHERS = ("fpga/toolchain/finn_requirements.txt", "workers/architecture_export.py", "workers/qonnx_export.py")

NOTED = (2, "47cf7606d2617c44")


def test_code_behind_the_estimates_is_that_of_their_version() -> None:
    paths = [*IN_FINN_CODE, *(ROOT / name for name in OTHERS)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()[:16]
    assert (ESTIMATOR_VERSION, digest) == NOTED, (
        "the code behind hardware estimates has changed: where it makes other estimates, raise ESTIMATOR_VERSION; "
        "then note both in NOTED"
    )
