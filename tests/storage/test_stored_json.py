"""Checks of records that come back from JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from pydantic import ValidationError

from storage.hardware_reports import HardwareEstimate, Resources
from storage.stored_json import from_json

ESTIMATE = HardwareEstimate(1, 2, 3, 4, 5.0, 6.0, "MVAU_0", available=Resources(lut=10, bram_18k=20, uram=30, dsp=40))


def test_record_in_a_record_survives_json() -> None:
    assert from_json(HardwareEstimate, json.loads(json.dumps(asdict(ESTIMATE)))) == ESTIMATE


def test_field_that_nobody_knows_is_refused_also_in_an_inner_record() -> None:
    values = asdict(ESTIMATE)
    values["available"]["slr"] = 3

    with pytest.raises(ValidationError, match=r"available\.slr\n  Unexpected keyword argument"):
        from_json(HardwareEstimate, values)


def test_field_without_a_default_must_be_there() -> None:
    values = asdict(ESTIMATE)
    del values["latency_us"]

    with pytest.raises(ValidationError, match="latency_us"):
        from_json(HardwareEstimate, values)
