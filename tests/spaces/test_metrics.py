"""Each metric is one record; what a study file may say of it follows."""

import pytest

from spaces.goals import ConstraintsPart, ObjectivesPart
from spaces.metrics import HARDWARE_METRICS, METRICS, Metric


def test_each_metric_may_be_an_objective_in_this_order() -> None:
    assert list(ObjectivesPart.model_fields) == list(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_objective_has_its_metric_s_direction(metric: Metric) -> None:
    given = getattr(ObjectivesPart.model_validate({metric.name: {}}), metric.name)
    assert given.direction == metric.direction


def test_each_metric_may_be_bounded_from_its_worse_side() -> None:
    assert set(ConstraintsPart.model_fields) == METRICS.keys()
    for name in ConstraintsPart.model_fields:
        side = "at_least" if METRICS[name].direction == "maximize" else "at_most"
        assert ConstraintsPart.model_validate({name: {side: 0.5}}).metrics == (METRICS[name],)


def test_hardware_metrics_are_those_of_the_estimate() -> None:
    assert [metric.name for metric in HARDWARE_METRICS] == ["lut", "dsp", "bram", "throughput_fps", "latency_us"]


def test_title_and_text_have_the_unit() -> None:
    assert [metric.title for metric in METRICS.values()] == [
        "accuracy", "LUT", "DSP", "BRAM18", "throughput, frames/s", "latency, µs", "inference cost η",
    ]  # fmt: skip
    assert METRICS["latency_us"].text(61.25) == "61.2 µs"
    assert METRICS["bram"].text(1024) == "1,024"
