import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.objectives import Objective, study_objectives
from search.progress import (
    ProgressDisplay,
    RunStatus,
    estimate_seconds_left,
    format_duration,
    plain_line,
    render_status,
    show_work,
)
from search.reports.study_report import StudyReport, TrialCounts
from spaces.metrics import METRICS
from storage.hardware_reports import HardwareEstimate
from tests.search.measured_trials import measured_point, measured_trial
from tests.search.search_study import small_config

POINT = measured_point(4, 0.5712, 0.0162)

OBJECTIVES = study_objectives(small_config())
REPORT = StudyReport("small", 0.56, TrialCounts(3, 2, 1, 1, 0), (POINT.trial,), (POINT,), 0.56, (), OBJECTIVES, (), 0.0)


def status(report: StudyReport = REPORT, running: tuple[tuple[int, Path], ...] = ()) -> RunStatus:
    return RunStatus(report, 10, 1, running, (), time.monotonic() - 60, None, "http://127.0.0.1:8080", "searching")


def test_plain_line_tells_counts_best_front_and_hypervolume() -> None:
    assert plain_line(status()) == (
        "3 of 10 trials complete, 2 could not be built, 1 failed, "
        "best feasible: trial 4, 57.12% at inference cost η 0.016200, front 1, hypervolume 0.5600"
    )


def test_metrics_of_the_best_trial_are_those_of_the_study_s_objectives() -> None:
    hardware = HardwareEstimate(12_345, 4, 0, 9, 125_000.0, 90.0, "MVAU_rtl_0", None)
    trial = replace(POINT.trial, hardware=(hardware,) * len(POINT.trial.evaluations))
    objectives = tuple(Objective(METRICS[name], None) for name in ("accuracy", "lut", "latency_us"))
    report = replace(REPORT, trials=(trial,), front=(trial.last,), objectives=objectives)
    assert "trial 4, 57.12% at LUT 12,345, latency 90.0 µs, front 1" in plain_line(status(report))


def test_best_point_of_several_stages_is_named_with_its_stage() -> None:
    trial = measured_trial(4, (0.58, 0.03), (0.57, 0.01))
    report = replace(REPORT, trials=(trial,), front=trial.points[::-1])
    assert "best feasible: trial 4 stage 1, 57.00% at inference cost η 0.010000, front 2" in plain_line(status(report))


def test_trials_that_wait_for_an_estimate_are_told() -> None:
    waiting = replace(status(), waiting=(5, 6))
    assert "1 failed, 2 wait for an estimate, best feasible" in plain_line(waiting)
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(render_status(waiting))
    assert "trial 6: trained, waits for FINN's estimate" in capture.get()


def test_accuracy_below_the_threshold_is_not_called_feasible() -> None:
    assert "best feasible: none yet; 57.12% of 60.00% reached" in plain_line(status(replace(REPORT, threshold=0.6)))


def test_panel_tells_epochs_of_running_trials_and_the_dashboard(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(json.dumps({"epoch": 2, "epochs": 7, "stage": 1, "updated": 0.0}))
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(render_status(status(running=((8, tmp_path), (9, tmp_path / "none")))))
    text = capture.get()
    assert "trial 8: stage 1, epoch 2 of 7" in text
    assert "trial 9: waits for a worker" in text
    assert "http://127.0.0.1:8080" in text
    assert "1:00 elapsed" in text


def test_time_left_follows_from_the_trials_of_this_run() -> None:
    now = status()
    assert estimate_seconds_left(now, now.started + 60) == pytest.approx(60 / 2 * 7)


def test_time_left_is_at_most_the_time_limit() -> None:
    limited = replace(status(), time_limit_s=100)
    assert estimate_seconds_left(limited, limited.started + 60) == pytest.approx(40)


def test_time_left_is_unknown_before_the_first_trial() -> None:
    fresh = replace(status(), n_trained_at_start=3)
    assert estimate_seconds_left(fresh, fresh.started + 60) is None


def test_plain_display_prints_a_line_only_when_something_happened() -> None:
    console = Console(file=io.StringIO(), width=200)
    with ProgressDisplay(console) as display:
        for report in (REPORT, REPORT, replace(REPORT, counts=TrialCounts(4, 2, 1, 1, 0))):
            display.update(status(report))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split("] ")[1][:5] for line in lines] == ["searc", "3 of ", "4 of "]


def test_live_display_shows_the_latest_status() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with ProgressDisplay(console) as display:
        display.update(status())
        display.notice("trial 3 failed: [why]")
        time.sleep(1.0)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "trial 3 failed: [why]" in text
    assert "3 of 10 complete" in text


def test_work_before_the_search_is_named() -> None:
    console = Console(file=io.StringIO(), width=100)
    with show_work(console) as on_progress:
        on_progress("generating the data set", 1, 2)
        on_progress("generating the data set", 2, 2)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "generating the data set\n"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03")])
def test_durations_are_read_like_a_clock(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_no_time_left_is_claimed_while_hardware_is_built() -> None:
    def panel(report: StudyReport) -> str:
        console = Console(file=io.StringIO(), width=100)
        with console.capture() as capture:
            console.print(render_status(status(report)))
        return capture.get()

    assert "elapsed, 3:30 left" in panel(REPORT)
    assert "left" not in panel(replace(REPORT, counts=TrialCounts(10, 2, 1, 0, 0)))
