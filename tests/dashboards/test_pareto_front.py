"""What the Pareto plot shows, read back from the figure's traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

from dashboards.pareto_figure import pareto_front_figure
from dashboards.pareto_front import REFERENCE_DESIGNS, ParetoFrontData, pareto_front_data
from search.reports.study_report import StudyReport, load_study_report
from spaces.metrics import LUT
from storage.database import Database
from tests.dashboards.demo_study import (
    DETAILED_BUILD_REPORT,
    HARDWARE,
    THREE_OBJECTIVES,
    TWO_OBJECTIVES,
    finish_demo_build,
    make_demo_study,
    open_demo_database,
    queue_demo_build,
)


def make_report(folder: Path, goals: str) -> StudyReport:
    """40 trials; the first of the front is built, the last one waits."""
    database = open_demo_database(folder)
    make_demo_study(database, goals=goals)
    front = load_study_report(database, "demo").front
    finish_demo_build(database, "demo", front[0].trial_number)
    queue_demo_build(database, "demo", front[-1].trial_number)
    return load_study_report(database, "demo")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> StudyReport:
    """Accuracy against inference cost."""
    return make_report(tmp_path_factory.mktemp("pareto"), TWO_OBJECTIVES)


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> StudyReport:
    """Accuracy against LUT, with bounds on LUT and frames/s."""
    return make_report(tmp_path_factory.mktemp("hardware"), HARDWARE)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> StudyReport:
    """Accuracy, LUT and frames/s, with a bound on DSP."""
    return make_report(tmp_path_factory.mktemp("three"), THREE_OBJECTIVES)


def test_each_point_is_either_dominated_or_on_the_front(report: StudyReport) -> None:
    data = _only_plot(report)

    shown = [(point.trial_number, point.stage) for point in (*data.dominated, *data.front)]
    assert sorted(shown) == [(trial.trial_number, stage) for trial in report.trials for stage in (0, 1)]
    assert len(shown) == 76
    assert [(point.trial_number, point.stage) for point in data.front] == [point.key for point in report.front]


def test_a_lineage_is_a_line_through_the_points_of_a_trial(report: StudyReport) -> None:
    data = _only_plot(report)
    others, front = (trace for trace in pareto_front_figure(data).data if trace.name.startswith("stages of a trial"))

    n_on_front = len({point.trial_number for point in report.front})
    assert (front.name, front.showlegend, others.showlegend) == ("stages of a trial (38 trials)", True, False)
    assert list(others.x).count(None) == 38 - n_on_front
    lines = {(front.x[start : start + 3], front.y[start : start + 3]) for start in range(0, len(front.x), 3)}
    assert len(lines) == n_on_front > 1
    trained, pruned = report.front[0].trial.points
    costs = (trained.inference_cost, pruned.inference_cost, None)
    assert (costs, (trained.accuracy, pruned.accuracy, None)) in lines


def test_hover_names_trial_and_stage(report: StudyReport) -> None:
    data = _only_plot(report)
    assert data.front[0].hover[0] == f"<b>trial {data.front[0].trial_number} stage 1</b>"


def test_a_study_of_one_stage_has_neither_lineages_nor_stages_in_its_names(report: StudyReport) -> None:
    trials = tuple(replace(trial, evaluations=trial.evaluations[:1]) for trial in report.trials)
    data = _only_plot(replace(report, trials=trials, front=(trials[0].last,), builds=()))
    assert data.lineages == ()
    assert (data.front[0].label, data.front[0].hover[0]) == ("#0", "<b>trial 0</b>")
    assert not any(trace.name.startswith("stages") for trace in pareto_front_figure(data).data)


def test_only_finished_builds_are_marked_and_show_their_numbers(report: StudyReport) -> None:
    built = _only_plot(report).built

    assert [point.trial_number for point in built] == [report.front[0].trial_number]
    assert "ZCU111: 18,432 LUT, 27 BRAM18, 12 DSP" in built[0].hover
    assert "101,562 frames/s, 61.3 µs" in built[0].hover


def test_inference_cost_is_on_a_logarithmic_x_axis_and_accuracy_on_y(report: StudyReport) -> None:
    figure = pareto_front_figure(_only_plot(report))

    front = _trace(figure, "Pareto front (")
    assert figure.layout.xaxis.type == "log"
    assert list(front.x) == [trial.inference_cost for trial in report.front]
    assert list(front.y) == [trial.accuracy for trial in report.front]
    assert front.line.shape == "hv"


def test_the_threshold_is_a_labelled_line(report: StudyReport) -> None:
    figure = pareto_front_figure(_only_plot(report))

    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == (0.56, 0.56)
    assert figure.layout.annotations[0].text == "threshold 56%"


def test_published_designs_are_hollow_markers_at_their_published_values(report: StudyReport) -> None:
    figure = pareto_front_figure(_only_plot(report))

    shown = {(trace.name, trace.y[0], trace.x[0]) for trace in figure.data if _is_published(trace)}
    assert shown == {
        ("BacalhauNet", 0.56241, 0.016211),
        ("AaronNet32++", 0.5609, 0.015705),
        ("A(MC) VGG10 w4a4", 0.5625, 0.042467),
        ("VGG10 8-bit", 0.5947, 1.0),
    }
    assert all(_trace(figure, design.name).marker.symbol.endswith("-open") for design in REFERENCE_DESIGNS)


def test_labels_that_would_be_written_over_each_other_are_left_out(report: StudyReport) -> None:
    data = _only_plot(report)
    neighbour = replace(data.front[0], trial_number=99, accuracy=data.front[0].accuracy + 1e-4)
    crowded = replace(data, front=(data.front[0], replace(neighbour, value=neighbour.value * 1.001)))

    assert list(_trace(pareto_front_figure(crowded), "Pareto front (").text) == [data.front[0].label, ""]


def test_labels_of_points_at_one_cost_are_as_far_apart_as_the_axis_shows_them(report: StudyReport) -> None:
    data = _only_plot(report)
    low, near, far = (replace(data.front[0], accuracy=accuracy) for accuracy in (0.14, 0.15, 0.19))
    figure = pareto_front_figure(replace(data, front=(low, near, far)))

    assert list(_trace(figure, "Pareto front (").text) == [low.label, "", far.label]


def test_a_hardware_study_without_trials_is_drawn(hardware: StudyReport) -> None:
    empty = replace(_only_plot(hardware), lineages=(), dominated=(), infeasible=(), front=(), built=())

    assert list(_trace(pareto_front_figure(empty), "Pareto front (0)").x) == []


def test_a_trial_at_cost_0_is_named_in_the_legend_instead_of_drawn(report: StudyReport) -> None:
    data = _only_plot(report)
    free = replace(data.front[0], trial_number=99, accuracy=1 / 24, value=0.0)

    figure = pareto_front_figure(replace(data, front=(free, *data.front), built=(free, *data.built)))

    front = _trace(figure, "Pareto front (")
    assert front.name == f"Pareto front ({len(data.front) + 1}, 1 at cost 0 not drawn)"
    assert list(front.x) == [point.value for point in data.front]
    assert len(front.text) == len(front.hovertext) == len(data.front)
    assert _trace(figure, "built with FINN").name == "built with FINN (2, 1 at cost 0 not drawn)"


def test_a_front_of_nothing_but_cost_0_is_drawn_empty(report: StudyReport) -> None:
    data = _only_plot(report)
    free = replace(data.front[0], value=0.0)

    figure = pareto_front_figure(replace(data, dominated=(free, free), front=(free,), built=()))

    assert list(_trace(figure, "Pareto front (").x) == []
    assert _trace(figure, "points (").name == "points (2 dominated, 2 at cost 0 not drawn)"


def test_a_study_without_trials_shows_the_threshold_and_the_published_designs(report: StudyReport) -> None:
    empty = replace(_only_plot(report), dominated=(), front=(), built=())

    figure = pareto_front_figure(empty)

    assert list(_trace(figure, "Pareto front (0)").x) == []
    assert list(_trace(figure, "BacalhauNet").y) == [0.56241]


def test_the_same_study_gives_the_same_figure(report: StudyReport) -> None:
    first, second = (pareto_front_figure(_only_plot(report)).to_json() for _ in range(2))

    assert first == second


def test_a_study_of_two_objectives_without_constraints_has_one_plot_without_them(report: StudyReport) -> None:
    figure = pareto_front_figure(_only_plot(report))

    assert [trace.name.partition(" (")[0] for trace in figure.data] == [
        "stages of a trial",
        "stages of a trial",
        "points",
        *(design.name for design in REFERENCE_DESIGNS),
        "Pareto front",
        "built with FINN",
    ]
    assert figure.layout.title.text == "Pareto front of demo"
    assert figure.layout.xaxis.title.text == "inference cost η (8-bit VGG10 = 1), lower is better"
    assert len(figure.layout.shapes) == 1


def test_x_is_the_second_objective_without_designs_that_have_no_value_for_it(hardware: StudyReport) -> None:
    figure = pareto_front_figure(_only_plot(hardware))

    front = _trace(figure, "Pareto front (")
    assert figure.layout.xaxis.title.text == "LUT, FINN's estimate, lower is better"
    assert list(front.x) == [LUT.read(trial) for trial in hardware.front]
    assert list(front.x) == sorted(front.x)
    assert not any(map(_is_published, figure.data))


def test_infeasible_trials_have_a_look_of_their_own_and_say_what_they_miss(hardware: StudyReport) -> None:
    data = _only_plot(hardware)

    infeasible = _trace(pareto_front_figure(data), "infeasible (16)")
    keys = [point.key for point in hardware.points if not hardware.is_feasible(point)]
    assert [(point.trial_number, point.stage) for point in data.infeasible] == keys
    assert infeasible.marker.symbol == "x-thin"
    most_accurate = next(point for point in data.infeasible if point.trial_number == 37)
    assert "<b>misses</b> LUT 49,858; expected at most 25,000" in most_accurate.hover
    assert "<b>misses</b> throughput 74,405 frames/s; expected at least 100,000 frames/s" in most_accurate.hover


def test_feasible_trials_miss_nothing(hardware: StudyReport) -> None:
    data = _only_plot(hardware)

    assert len(data.dominated) == 54
    assert not any("misses" in line for point in (*data.dominated, *data.front) for line in point.hover)


def test_hover_has_the_estimate(hardware: StudyReport) -> None:
    point = next(point for point in _only_plot(hardware).infeasible if point.trial_number == 37)

    assert "estimate: 49,858 LUT, 37 BRAM18, 71 DSP" in point.hover
    assert "74,405 frames/s, 26.9 µs" in point.hover
    assert "bottleneck MVAU_hls_2" in point.hover


def test_hover_has_a_builds_totals_with_all_that_connects_its_layers(database: Database) -> None:
    make_demo_study(database, n_trials=4)
    finish_demo_build(database, "demo", 0, DETAILED_BUILD_REPORT)

    (built,) = _only_plot(load_study_report(database, "demo")).built

    assert "ZCU111: 24,100 LUT, 41 BRAM18, 12 DSP" in built.hover


def test_a_bound_on_the_axis_is_a_labelled_line(hardware: StudyReport) -> None:
    figure = pareto_front_figure(_only_plot(hardware))

    assert (figure.layout.shapes[1].x0, figure.layout.shapes[1].x1) == (25_000, 25_000)
    assert figure.layout.annotations[1].text == "at most 25,000"


def test_three_objectives_are_two_plots_of_one_front_that_is_no_line(three: StudyReport) -> None:
    lut, throughput = pareto_front_data(three)

    figures = [pareto_front_figure(lut), pareto_front_figure(throughput)]
    fronts = [_trace(figure, "Pareto front (9)") for figure in figures]
    assert {point.trial_number for point in lut.front} == {trial.trial_number for trial in three.front}
    assert {point.trial_number for point in throughput.front} == {trial.trial_number for trial in three.front}
    assert [front.mode for front in fronts] == ["markers+text", "markers+text"]
    assert [figure.layout.title.text for figure in figures] == [
        "demo: accuracy against LUT",
        "demo: accuracy against throughput",
    ]
    assert figures[1].layout.xaxis.title.text == "throughput, frames/s, FINN's estimate, higher is better"


def test_a_front_of_an_objective_to_maximize_begins_at_its_largest_value(three: StudyReport) -> None:
    _, throughput = pareto_front_data(three)

    front = _trace(pareto_front_figure(throughput), "Pareto front (")
    assert list(front.x) == sorted(front.x, reverse=True)
    assert front.textposition == "top right"


def test_the_axis_is_logarithmic_where_values_are_far_apart_and_none_is_0(hardware: StudyReport) -> None:
    data = _only_plot(hardware)
    far = pareto_front_figure(data)
    near = pareto_front_figure(replace(data, dominated=(), infeasible=()))
    none = pareto_front_figure(replace(data, front=(replace(data.front[0], value=0.0), *data.front)))

    assert [figure.layout.xaxis.type for figure in (far, near, none)] == ["log", "linear", "linear"]
    assert 0.0 in _trace(none, "Pareto front (").x
    assert "10,000" in far.layout.xaxis.ticktext


def _only_plot(report: StudyReport) -> ParetoFrontData:
    (data,) = pareto_front_data(report)
    return data


def _is_published(trace: go.Scatter) -> bool:
    return "published" in (trace.hovertemplate or "")


def _trace(figure: go.Figure, start: str) -> go.Scatter:
    (trace,) = [trace for trace in figure.data if trace.name.startswith(start)]
    return trace
