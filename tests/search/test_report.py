import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from dashboards.report_page import main as report_page
from search.loop import run_search
from search.objectives import find_front
from search.pareto import hypervolume
from search.promote import main as promote
from search.report import main
from search.reports.formats import CSV_COLUMNS, front_as_csv
from search.reports.study_report import load_study_report
from search.reports.tables import builds_as_table, front_as_table, print_tables
from spaces.metrics import LUT
from storage.builds import claim_build, finish_build
from storage.database import Database
from storage.hardware_reports import BuildReport, Resources
from storage.records import BuildLevel, FinishedBuild
from tests.search.estimate_maker import estimate_maker
from tests.search.search_study import (
    complete,
    fail,
    hardware_config,
    make_search,
    points_of,
    queue_small_build,
    small_config,
)
from workers.requests import Completed, EvaluationRequest, Failed

BUILD_REPORT = BuildReport(
    lut=18432,
    bram_18k=27,
    uram=0,
    dsp=12,
    throughput_fps=101562.5,
    latency_us=61.3,
    bottleneck_layer="MVAU_hls_2",
    bottleneck_cycles=2048,
    n_frames_verified=100,
    n_classes_equal=99,
    connected=Resources(lut=24100, bram_18k=41, uram=0, dsp=12),
)


@pytest.fixture
def studied(sqlite: Database, tmp_path: Path) -> Database:
    """A study with complete, failed, pruned and running trials, one finished and one queued build."""

    def fail_first(request: EvaluationRequest) -> Completed | Failed:
        return fail(request) if request.trial_number == 0 else complete(request)

    search = make_search(small_config("{choices: [2, 3]}"), sqlite, tmp_path, fail_first)
    run_search(search)
    search.study.ask()
    search.study.enqueue_trial({})
    winner = load_study_report(sqlite, "small").front[0]
    for board in ("ZCU111", "ZCU102"):
        queue_small_build(sqlite, winner.trial_number, board, stage=winner.stage)
    build = claim_build(sqlite, "me", 60)
    assert build is not None
    assert finish_build(sqlite, build.build_id, "me", FinishedBuild(BUILD_REPORT, BuildLevel.CODEGEN))
    return sqlite


def run_json(database: Database, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["small", "--json", "--storage", database.url]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    report: dict[str, object] = json.loads(output.out)
    return report


def test_json_counts_trials_by_state(studied: Database, capsys: pytest.CaptureFixture[str]) -> None:
    counts = run_json(studied, capsys)["trials"]
    assert isinstance(counts, dict)
    pruned = counts.pop("pruned")
    assert pruned >= 1
    assert counts == {"complete": 6, "failed": 1, "running": 1, "waiting": 1, "stopped": 0}


def test_json_front_has_the_promised_keys_from_cheap_to_accurate(
    studied: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    front = run_json(studied, capsys)["front"]
    assert isinstance(front, list)
    assert len(front) >= 2
    assert {"trial", "stage", "accuracy", "inference_cost", "bit_ops", "weight_bits", "parameters"} <= set(front[0])
    costs = [entry["inference_cost"] for entry in front]
    accuracies = [entry["accuracy"] for entry in front]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)


def test_json_builds_have_the_promised_keys(studied: Database, capsys: pytest.CaptureFixture[str]) -> None:
    builds = run_json(studied, capsys)["builds"]
    assert isinstance(builds, list)
    assert [build["stage"] for build in builds] == [1, 1]
    names = ("state", "board", "lut", "bram_18k", "dsp", "throughput_fps", "latency_us")
    assert [[build[name] for name in names] for build in builds] == [
        ["succeeded", "ZCU111", 24100, 41, 12, 101562.5, 61.3],
        ["queued", "ZCU102", None, None, None, None, None],
    ]


def test_json_tells_its_format_and_the_layers_only_beside_the_whole(
    studied: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_json(studied, capsys)
    assert report["format"] == 3
    assert isinstance(report["builds"], list)
    built, queued = report["builds"]
    assert built["layers_only"] == {"lut": 18432, "bram_18k": 27, "uram": 0, "dsp": 12}
    assert queued["layers_only"] is None
    assert "connected" not in built


def test_json_of_an_older_build_knows_its_layers_only(studied: Database, capsys: pytest.CaptureFixture[str]) -> None:
    build = claim_build(studied, "me", 60)
    assert build is not None
    assert finish_build(
        studied, build.build_id, "me", FinishedBuild(replace(BUILD_REPORT, connected=None), BuildLevel.CODEGEN)
    )
    builds = run_json(studied, capsys)["builds"]
    assert isinstance(builds, list)
    assert builds[1]["lut"] is None
    assert builds[1]["layers_only"]["lut"] == 18432


def test_report_agrees_with_optuna_on_the_front(studied: Database, tmp_path: Path) -> None:
    report = load_study_report(studied, "small")
    study = make_search(small_config("{choices: [2, 3]}"), studied, tmp_path, complete).study
    best = points_of(study).best_trials
    assert {point.key for point in report.front} == {(t.user_attrs["trial"], t.user_attrs["stage"]) for t in best}
    assert {point.stage for point in report.front} == {0, 1}
    assert report.hypervolume == hypervolume(
        [(p.accuracy, p.inference_cost) for p in report.points], (0.0, 1.0), ("maximize", "minimize")
    )
    last = find_front(report.objectives, [trial.last for trial in report.trials])
    assert {report.trials[index].trial_number for index in last} == {trial.number for trial in study.best_trials}


def test_best_feasible_point_is_the_cheapest_above_the_threshold(studied: Database) -> None:
    report = load_study_report(studied, "small")
    feasible = [point for point in report.points if point.accuracy >= 0.56]
    assert feasible
    assert report.best_feasible == min(feasible, key=lambda point: point.inference_cost)


def test_csv_holds_the_front(studied: Database) -> None:
    report = load_study_report(studied, "small")
    rows = list(csv.DictReader(front_as_csv(report).splitlines()))
    assert [(int(row["trial"]), int(row["stage"])) for row in rows] == [point.key for point in report.front]
    assert [float(row["accuracy"]) for row in rows] == [trial.accuracy for trial in report.front]


def test_tables_show_front_and_builds(studied: Database) -> None:
    report, console = load_study_report(studied, "small"), Console(width=200)
    with console.capture() as capture:
        console.print(front_as_table(report), builds_as_table(report))
    text = capture.get()
    assert f"{report.front[0].inference_cost:.6f}" in text
    assert "18,432" in text
    assert "99 of 100" in text
    assert "queued" in text


@pytest.fixture
def hardware_study(sqlite: Database, tmp_path: Path) -> Database:
    """A study of LUT with a bound that some trials break."""
    config = hardware_config("lut: {}", "throughput_fps: {at_least: 200000}")
    with estimate_maker(sqlite):
        run_search(make_search(config, sqlite, tmp_path, complete))
    return sqlite


def test_json_of_a_hardware_study_has_objectives_constraints_and_metrics(
    hardware_study: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_json(hardware_study, capsys)
    assert report["objectives"] == {"accuracy": "maximize", "lut": "minimize"}
    assert report["constraints"] == {"throughput_fps": {"at_least": 200_000}}
    assert isinstance(report["hypervolume"], float)
    front = report["front"]
    assert isinstance(front, list)
    assert {"inference_cost", "lut", "dsp", "bram_18k", "uram", "throughput_fps", "latency_us"} <= set(front[0])
    assert [entry["is_feasible"] for entry in front] == [True] * len(front)
    assert [entry["lut"] for entry in front] == sorted(entry["lut"] for entry in front)
    assert all(entry["throughput_fps"] >= 200_000 for entry in front)


def test_json_of_a_study_without_hardware_has_no_such_metrics(
    studied: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_json(studied, capsys)
    assert report["objectives"] == {"accuracy": "maximize", "inference_cost": "minimize"}
    assert report["constraints"] == {}
    assert isinstance(report["front"], list)
    assert set(report["front"][0]) == set(CSV_COLUMNS)


def test_csv_and_table_of_a_hardware_study_hold_its_metrics(hardware_study: Database) -> None:
    report = load_study_report(hardware_study, "small")
    rows = list(csv.DictReader(front_as_csv(report).splitlines()))
    assert [int(row["lut"]) for row in rows] == [LUT.read(trial) for trial in report.front]
    assert {row["is_feasible"] for row in rows} == {"True"}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(front_as_table(report))
    text = capture.get()
    assert f"{LUT.read(report.front[0]):,.0f}" in text
    n_infeasible = sum(not report.is_feasible(trial.last) for trial in report.trials)
    assert n_infeasible > 0
    assert f"{n_infeasible} of 6 trials break throughput at least 200,000 frames/s" in " ".join(text.split())


def test_builds_tell_their_level_and_why_they_stopped_there(
    studied: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    build = claim_build(studied, "me", 60)
    assert build is not None
    note = "stitched_ip needs Vivado, which is not here"
    assert finish_build(studied, build.build_id, "me", FinishedBuild(BUILD_REPORT, BuildLevel.CODEGEN, level_note=note))
    builds = run_json(studied, capsys)["builds"]
    assert isinstance(builds, list)
    assert (builds[1]["level"], builds[1]["level_note"]) == ("codegen", note)
    assert main(["small", "--storage", studied.url]) == 0
    output = capsys.readouterr().out
    assert f"build of trial {build.trial_number} stage 1 stopped at codegen: {note}\n" in output


def test_tables_have_a_column_of_stages_where_a_trial_has_several(studied: Database) -> None:
    report = load_study_report(studied, "small")
    single = replace(report, trials=tuple(replace(t, evaluations=t.evaluations[:1]) for t in report.trials))
    for make in (front_as_table, builds_as_table):
        assert [column.header for column in make(report).columns][:2] == ["trial", "stage"]
        assert "stage" not in [column.header for column in make(single).columns]


def test_builds_that_reach_the_threshold_have_a_star(studied: Database) -> None:
    report = load_study_report(studied, "small")
    builds = tuple(replace(build, is_below_threshold=bool(index)) for index, build in enumerate(report.builds))
    (trials, *_) = builds_as_table(replace(report, builds=builds)).columns
    number = builds[0].trial_number
    assert list(trials.cells) == [f"{number}*", f"{number} "]


def test_no_number_is_cut_at_any_width(studied: Database) -> None:
    report = load_study_report(studied, "small")
    digits = [f"{point.cost.bit_ops:,.0f}" for point in report.front]
    for width in (20, 40, 60, 80, 120):
        console = Console(width=width)
        with console.capture() as capture:
            print_tables(report, console)
        assert "…" not in capture.get()
        assert all(number in capture.get() for number in digits)


def test_two_builds_of_a_network_are_told_apart_by_the_speed_that_was_asked(studied: Database) -> None:
    report = load_study_report(studied, "small")
    build = report.builds[0]
    other = replace(build, target=replace(build.target, target_fps=250_000))
    table = builds_as_table(replace(report, builds=(build, other)))
    (asked,) = (list(column.cells) for column in table.columns if column.header == "frames/s asked")
    assert asked == [f"{build.target.target_fps:,}", "250,000"]


def test_narrow_terminal_gets_the_builds_as_lines_with_every_digit(studied: Database) -> None:
    report, console = load_study_report(studied, "small"), Console(width=80)
    with console.capture() as capture:
        print_tables(report, console)
    text = " ".join(capture.get().split())
    assert "stage 1; state succeeded; level codegen; board ZCU111; frames/s asked 100,000; LUT, layers" in text
    assert "LUT, layers only 18,432; LUT 24,100;" in text
    assert "…" not in text


def test_front_of_stages_fits_into_80_columns(studied: Database) -> None:
    report, console = load_study_report(studied, "small"), Console(width=80)
    with console.capture() as capture:
        console.print(front_as_table(report))
    assert "…" not in capture.get()


def test_unknown_study_is_refused_with_the_known_ones(studied: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smal", "--storage", studied.url]) == 2
    assert capsys.readouterr().err == "study is smal; expected one of those in the database: small\n"


@pytest.mark.parametrize(("command", "options"), [(main, []), (promote, ["0"]), (report_page, ["--out", "page.html"])])
def test_study_deleted_in_optuna_dashboard_is_refused_in_words(
    sqlite: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
    options: list[str],
) -> None:
    make_search(small_config(), sqlite, tmp_path, complete)
    optuna.delete_study(study_name="small", storage=sqlite.url)
    assert command(["small", *options, "--storage", sqlite.url]) == 2
    assert capsys.readouterr().err.startswith("study small has no trials: its run is just starting, or it was deleted")


def test_page_is_not_written_into_a_folder_that_is_missing(
    studied: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none" / "page.html"
    assert report_page(["small", "--storage", studied.url, "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"--out is {out}; expected a file in a folder that exists\n"
    assert not out.parent.exists()


def test_missing_database_is_refused_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small", "--storage", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert "none.db does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
