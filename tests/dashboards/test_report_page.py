"""The HTML report: what it holds, that it needs no network, and that nothing in it runs as markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dashboards.report_page import report_page
from search.reports.study_report import load_study_report
from storage.database import Database
from storage.studies import load_study_record
from tests.dashboards.demo_server import run_module
from tests.dashboards.demo_study import (
    DETAILED_BUILD_REPORT,
    HARDWARE,
    THREE_OBJECTIVES,
    complete_trial,
    fail_demo_build,
    finish_demo_build,
    make_demo_study,
    open_demo_database,
)

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study with a finished build and a failed one."""
    folder = tmp_path_factory.mktemp("report")
    database = open_demo_database(folder)
    make_demo_study(database)
    front = load_study_report(database, "demo").front
    finish_demo_build(database, "demo", front[0].trial_number)
    fail_demo_build(database, "demo", front[-1].trial_number, f"step failed {EVIL}")
    return folder


def test_page_has_plot_front_builds_study_file_and_provenance(folder: Path) -> None:
    (folder / "pages").mkdir()
    done = run_module(folder, "dashboards.report_page", "demo", "--out", "pages/report.html")

    assert (done.returncode, done.stdout) == (0, "pages/report.html\n")
    page = (folder / "pages/report.html").read_text()
    best = load_study_report(open_demo_database(folder), "demo").front[-1]
    assert f"<td>{best.trial_number}</td><td>{best.stage}</td><td>{best.accuracy:.2%}</td>" in page
    assert f"<td>{best.design.architecture_id}</td></tr>" in page
    assert "<td>18,432</td><td>27</td><td>0</td><td>12</td><td>101,562</td><td>61.3</td>" in page
    assert "budget: {trials: 40, epochs: 6}" in page
    assert "<td>git</td><td>0123abc</td>" in page
    assert "Plotly.newPlot" in page


def test_page_loads_nothing_from_elsewhere(folder: Path) -> None:
    page = _page(open_demo_database(folder))

    assert "<script" in page
    assert re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=""", page) == []


def test_text_of_others_is_never_markup(folder: Path) -> None:
    database = open_demo_database(folder)
    report, record = load_study_report(database, "demo"), load_study_record(database, "demo")
    assert record is not None

    page = report_page(
        replace(report, study_name=f"n{EVIL}"), replace(record, text=EVIL, provenance={f"k{EVIL}": f"v{EVIL}"})
    )

    assert EVIL not in page
    assert page.count("alert(1)") >= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["other", "--out", "x.html"], "study is other; expected one of those in the database: demo"),
        (["demo", "--out", "x.html", "--storage", "sqlite:///none.db"], "does not exist"),
        (["demo", "--out", "runs"], "--out is runs; it cannot be written: Is a directory"),
    ],
)
def test_wrong_options_end_with_code_2_and_leave_no_file(folder: Path, arguments: list[str], message: str) -> None:
    done = run_module(folder, "dashboards.report_page", *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.glob("*.html")) == []


def test_a_study_without_trials_has_a_page(database: Database) -> None:
    make_demo_study(database, n_trials=2)

    page = _page(database)

    assert "No trial is complete yet." in page
    assert "No trial was sent to FINN yet." in page


def test_a_study_with_a_trial_at_cost_0_on_the_front_has_a_page(database: Database) -> None:
    number = complete_trial(make_demo_study(database, n_trials=4), database, pruned_density=0.0)

    page = _page(database)

    assert "1 at cost 0 not drawn" in page
    assert f"<td>{number}</td>" in page


def test_page_of_a_hardware_study_has_constraints_estimates_and_each_layer_of_a_build(database: Database) -> None:
    make_demo_study(database, goals=HARDWARE)
    finish_demo_build(database, "demo", 26, DETAILED_BUILD_REPORT, level_note="no <Vivado> here")

    page = _page(database)

    assert "<title>demo: accuracy against LUT</title>" in page
    assert "<td>throughput</td><td>at least 100,000 frames/s</td><td>33 of 38</td>" in page
    assert "38 trials complete (8 of them infeasible), 1 could not be built, 1 failed, 0 running." in page
    assert "<td>26</td><td>0</td><td>41.00%</td><td>no</td><td>3,145</td><td>4</td><td>6</td><td>416,667</td>" in page
    assert "<tr><td>LUT</td><td>3,145 (0.7%)</td><td>18,432</td><td>24,100 (5.7%)</td></tr>" in page
    assert '<tr class="marked"><td>MVAU_hls_2 (bottleneck)</td><td>12</td><td>4</td><td>2,048</td>' in page
    assert "Reached level 2 of 5, codegen: generated hardware code. No further: no &lt;Vivado&gt; here." in page


def test_a_failed_build_shows_the_end_of_its_log(database: Database) -> None:
    make_demo_study(database, n_trials=4)
    fail_demo_build(database, "demo", 0, "step_x failed", log_tail=f"line 1\n{EVIL}")

    page = _page(database)

    assert "Failed: step_x failed" in page
    assert "<pre>line 1\n&lt;/script&gt;" in page
    assert EVIL not in page


def test_page_of_three_objectives_has_two_plots_and_one_copy_of_the_library(database: Database) -> None:
    make_demo_study(database, n_trials=6, goals=THREE_OBJECTIVES)

    page = _page(database)

    assert [page.count(f'id="pareto-front-{name}"') for name in ("lut", "throughput_fps")] == [1, 1]
    assert page.count("plotly.js v") == 1
    assert "<title>demo: accuracy against LUT and throughput</title>" in page


def test_a_study_whose_trials_all_miss_a_constraint_says_so(database: Database) -> None:
    make_demo_study(database, n_trials=6, goals=HARDWARE.replace("100000", "100000000"))

    page = _page(database)

    assert "No trial keeps all constraints yet." in page
    assert "infeasible (8)" in page  # two stages each


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_plot_is_drawn_in_a_browser(folder: Path, tmp_path: Path) -> None:
    run_module(folder, "dashboards.report_page", "demo", "--out", str(tmp_path / "report.html"))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --virtual-time-budget=10000 --dump-dom"

    done = subprocess.run(
        ["chromium", *flags.split(), f"--user-data-dir={tmp_path}/browser", f"file://{tmp_path}/report.html"],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "threshold 56%</text>" in done.stdout
    assert "BacalhauNet</text>" in done.stdout


def _page(database: Database) -> str:
    record = load_study_record(database, "demo")
    assert record is not None
    return report_page(load_study_report(database, "demo"), record)
