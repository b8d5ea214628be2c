"""What the Pareto plot shows, read back from the figure's traces."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
import pytest

from dashboards.pareto_front import REFERENCE_DESIGNS, ParetoFrontData, pareto_front_data, pareto_front_figure
from search.report import StudyReport, load_study_report
from storage.database import open_database
from tests.dashboards.demo_study import finish_demo_build, make_demo_study, queue_demo_build


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> StudyReport:
    """40 trials; the cheapest of the front is built, the most accurate one waits."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('pareto')}/studies.db")
    make_demo_study(database)
    front = load_study_report(database, "demo").front
    finish_demo_build(database, "demo", front[0].trial_number)
    queue_demo_build(database, "demo", front[-1].trial_number)
    return load_study_report(database, "demo")


def test_each_complete_trial_is_either_dominated_or_on_the_front(report: StudyReport) -> None:
    data = pareto_front_data(report)

    shown = [point.trial_number for point in (*data.dominated, *data.front)]
    assert sorted(shown) == [trial.trial_number for trial in report.trials]
    assert len(shown) == 38
    assert [point.trial_number for point in data.front] == [trial.trial_number for trial in report.front]


def test_only_finished_builds_are_marked_and_show_their_numbers(report: StudyReport) -> None:
    built = pareto_front_data(report).built

    assert [point.trial_number for point in built] == [report.front[0].trial_number]
    assert "ZCU111: 18,432 LUT, 27 BRAM18, 12 DSP" in built[0].hover
    assert "101,562 frames/s, 61.3 µs" in built[0].hover


def test_inference_cost_is_on_a_logarithmic_x_axis_and_accuracy_on_y(report: StudyReport) -> None:
    figure = pareto_front_figure(pareto_front_data(report))

    front = _trace(figure, "Pareto front (")
    assert figure.layout.xaxis.type == "log"
    assert list(front.x) == [trial.inference_cost for trial in report.front]
    assert list(front.y) == [trial.accuracy for trial in report.front]
    assert front.line.shape == "hv"


def test_the_threshold_is_a_labelled_line(report: StudyReport) -> None:
    figure = pareto_front_figure(pareto_front_data(report))

    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == (0.56, 0.56)
    assert figure.layout.annotations[0].text == "threshold 56%"


def test_published_designs_are_hollow_markers_at_their_published_figures(report: StudyReport) -> None:
    figure = pareto_front_figure(pareto_front_data(report))

    shown = {(trace.name, trace.y[0], trace.x[0]) for trace in figure.data if "published" in trace.hovertemplate}
    assert shown == {
        ("BacalhauNet", 0.56241, 0.016211),
        ("AaronNet32++", 0.5609, 0.015705),
        ("A(MC) VGG10 w4a4", 0.5625, 0.042467),
        ("VGG10 8-bit", 0.5947, 1.0),
    }
    assert all(_trace(figure, design.name).marker.symbol.endswith("-open") for design in REFERENCE_DESIGNS)


def test_labels_that_would_be_written_over_each_other_are_left_out(report: StudyReport) -> None:
    data = pareto_front_data(report)
    neighbour = replace(data.front[0], trial_number=99, accuracy=data.front[0].accuracy + 1e-4)
    crowded = replace(data, front=(data.front[0], replace(neighbour, inference_cost=neighbour.inference_cost * 1.001)))

    assert list(_trace(pareto_front_figure(crowded), "Pareto front (").text) == [f"#{data.front[0].trial_number}", ""]


def test_a_trial_at_cost_0_is_named_in_the_legend_instead_of_drawn(report: StudyReport) -> None:
    data = pareto_front_data(report)
    free = replace(data.front[0], trial_number=99, accuracy=1 / 24, inference_cost=0.0)

    figure = pareto_front_figure(replace(data, front=(free, *data.front), built=(free, *data.built)))

    front = _trace(figure, "Pareto front (")
    assert front.name == f"Pareto front ({len(data.front) + 1}, 1 at cost 0 not drawn)"
    assert list(front.x) == [point.inference_cost for point in data.front]
    assert len(front.text) == len(front.hovertext) == len(data.front)
    assert _trace(figure, "built with FINN").name == "built with FINN (2, 1 at cost 0 not drawn)"


def test_a_front_of_nothing_but_cost_0_is_drawn_empty(report: StudyReport) -> None:
    data = pareto_front_data(report)
    free = replace(data.front[0], inference_cost=0.0)

    figure = pareto_front_figure(replace(data, dominated=(free, free), front=(free,), built=()))

    assert list(_trace(figure, "Pareto front (").x) == []
    assert _trace(figure, "trials (").name == "trials (2 dominated, 2 at cost 0 not drawn)"


def test_a_study_without_trials_shows_the_threshold_and_the_published_designs() -> None:
    figure = pareto_front_figure(ParetoFrontData("empty", 0.56, (), (), (), REFERENCE_DESIGNS))

    assert list(_trace(figure, "Pareto front (0)").x) == []
    assert list(_trace(figure, "BacalhauNet").y) == [0.56241]


def test_the_same_study_gives_the_same_figure(report: StudyReport) -> None:
    first, second = (pareto_front_figure(pareto_front_data(report)).to_json() for _ in range(2))

    assert first == second


def _trace(figure: go.Figure, start: str) -> go.Scatter:
    (trace,) = [trace for trace in figure.data if trace.name.startswith(start)]
    return trace
