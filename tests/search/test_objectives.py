from dataclasses import dataclass, replace

import pytest

from search.objectives import (
    Constraint,
    Objective,
    complete_references,
    find_front,
    measure_contributions,
    measure_hypervolume,
    study_constraints,
    study_objectives,
)
from spaces.metrics import ACCURACY, INFERENCE_COST, LUT, METRICS, THROUGHPUT
from storage.hardware_reports import HardwareEstimate, Resources
from tests.search.search_study import hardware_config, small_config

HARDWARE = HardwareEstimate(
    lut=10_000,
    bram_18k=12,
    uram=0,
    dsp=40,
    throughput_fps=125_000.0,
    latency_us=90.5,
    bottleneck_layer="MVAU_rtl_1",
    available=Resources(lut=40_000, bram_18k=100, uram=8, dsp=200, ff=None),
)


@dataclass(frozen=True)
class Network:
    """A network with its metrics."""

    accuracy: float = 0.5
    inference_cost: float = 0.2
    hardware: HardwareEstimate | None = HARDWARE


def network(accuracy: float, **hardware: float) -> Network:
    return Network(accuracy, hardware=replace(HARDWARE, **hardware))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 0.5),
        ("inference_cost", 0.2),
        ("lut", 10_000),
        ("dsp", 40),
        ("bram", 12),
        ("throughput_fps", 125_000),
        ("latency_us", 90.5),
    ],
)
def test_each_metric_has_its_value(name: str, value: float) -> None:
    assert METRICS[name].read(Network()) == value


def test_hardware_metric_of_a_network_without_estimate_is_an_error() -> None:
    with pytest.raises(KeyError, match="lut"):
        LUT.read(Network(hardware=None))


def test_study_that_names_no_objective_has_accuracy_and_inference_cost() -> None:
    assert study_objectives(small_config()) == (
        Objective(ACCURACY, reference=0.0),
        Objective(INFERENCE_COST, reference=1.0),
    )
    assert study_constraints(small_config()) == ()


def test_named_objectives_have_their_directions() -> None:
    objectives = study_objectives(hardware_config("lut: {}, throughput_fps: {}"))
    assert [(o.name, o.metric.direction) for o in objectives] == [
        ("accuracy", "maximize"),
        ("lut", "minimize"),
        ("throughput_fps", "maximize"),
    ]


def test_reference_is_the_bound_else_the_board_s_resources_else_the_largest_latency() -> None:
    asked = hardware_config("lut: {}, dsp: {}, bram: {}, latency_us: {}, throughput_fps: {}", "lut: {at_most: 20000}")
    networks = [network(0.5, latency_us=90.0), network(0.4, latency_us=70.0)]
    objectives = complete_references(study_objectives(asked), networks)
    assert {o.name: o.reference for o in objectives} == {
        "accuracy": 0.0,
        "lut": 20_000,
        "dsp": 200,
        "bram": 100,
        "latency_us": 90.0,
        "throughput_fps": 0.0,
    }


def test_reference_on_an_unknown_board_is_the_largest_value() -> None:
    networks = [network(0.5, lut=7, available=None), network(0.5, lut=9, available=None)]  # type: ignore[arg-type]
    assert complete_references(study_objectives(hardware_config("lut: {}")), networks)[1].reference == 9


def test_nothing_is_covered_before_the_first_trial() -> None:
    objectives = complete_references(study_objectives(hardware_config("lut: {}")), [])
    assert objectives[1].reference is None
    assert measure_hypervolume(objectives, []) == 0.0
    assert measure_contributions(objectives, []) == []
    assert find_front(objectives, []) == []


def test_hypervolume_of_resources_is_in_shares_of_the_board() -> None:
    networks = [network(0.5, lut=10_000), network(0.6, lut=20_000)]
    objectives = complete_references(study_objectives(hardware_config("lut: {}")), networks)
    assert measure_hypervolume(objectives, networks) == pytest.approx(0.25 * 0.5 + 0.5 * 0.6)
    assert measure_contributions(objectives, networks) == pytest.approx([0.25 * 0.5, 0.5 * 0.1])


def test_throughput_counts_from_its_bound_in_shares_of_it_else_in_shares_of_the_target() -> None:
    fast = [network(0.5, throughput_fps=150_000.0)]
    free = study_objectives(hardware_config("throughput_fps: {}"))
    bound = study_objectives(hardware_config("throughput_fps: {}", "throughput_fps: {at_least: 120000}"))
    assert measure_hypervolume(free, fast) == pytest.approx(0.5 * 1.5)
    assert measure_hypervolume(bound, fast) == pytest.approx(0.5 * 0.25)


def test_front_of_three_objectives_begins_with_the_best_of_the_second() -> None:
    networks = [network(0.6, lut=9), network(0.5, lut=7), network(0.5, lut=9, latency_us=1.0), network(0.4, lut=8)]
    objectives = complete_references(study_objectives(hardware_config("lut: {}, latency_us: {}")), networks)
    assert find_front(objectives, networks) == [1, 0, 2]


def test_excess_is_a_share_of_the_bound_and_at_most_0_where_it_holds() -> None:
    at_most, at_least = Constraint(LUT, at_most=200), Constraint(THROUGHPUT, at_least=100)
    assert [at_most.excess(network(0.5, lut=value)) for value in (100, 200, 300)] == [-0.5, 0.0, 0.5]
    assert [at_least.excess(network(0.5, throughput_fps=value)) for value in (150, 100, 50)] == [-0.5, 0.0, 0.5]
    assert [at_most.holds(network(0.5, lut=value)) for value in (100, 200, 300)] == [True, True, False]


def test_constraints_read_as_sentences() -> None:
    bounds = study_constraints(
        hardware_config("lut: {}", "throughput_fps: {at_least: 100000}, latency_us: {at_most: 50}")
    )
    assert list(map(str, bounds)) == ["throughput at least 100,000 frames/s", "latency at most 50.0 µs"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.5, "50.00%"),
        ("inference_cost", 0.0162, "0.016200"),
        ("lut", 12345.0, "12,345"),
        ("throughput_fps", 125_000.0, "125,000 frames/s"),
        ("latency_us", 9.25, "9.2 µs"),
    ],
)
def test_metrics_are_written_as_people_read_them(name: str, value: float, text: str) -> None:
    assert METRICS[name].text(value) == text
