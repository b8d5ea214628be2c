"""What a run leaves at its end: the front as CSV, the page as HTML, and its tables on the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
from rich.console import Console

from search.hardware_estimates import HardwareEstimates
from search.reports.beliefs import describe_beliefs
from search.reports.formats import front_as_csv
from search.reports.study_report import StudyReport
from search.reports.tables import print_tables
from storage.artifacts import write_text_atomically
from storage.child_processes import module_environment
from storage.database import DEFAULT_DATABASE_URL


def print_results(
    study: optuna.Study,
    report: StudyReport,
    estimates: HardwareEstimates | None,
    folder: Path,
    storage: str,
    console: Console,
) -> None:
    """Writes the front and the page of the study into `folder`, and prints the tables; `storage` is its database."""
    table, page = folder / f"{report.study_name}-front.csv", folder / f"{report.study_name}-report.html"
    write_text_atomically(table, front_as_csv(report))
    written = _write_page(report.study_name, storage, page)
    print_tables(report, console)
    for line in describe_beliefs(study, report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if estimates is not None:
        console.print(estimates.describe(), highlight=False)
    option = "" if storage == DEFAULT_DATABASE_URL else " --storage URL"
    console.print(f"pages:  python -m dashboards.run{option}", highlight=False, soft_wrap=True)
    for line in (f"table:  {table}", written):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _write_page(study_name: str, storage: str, page: Path) -> str:
    """Says where the page is, or why it is missing. In a process of its own: search may not import dashboards."""
    command = ["dashboards.report_page", study_name, "--storage", storage, "--out", str(page)]
    made = subprocess.run(
        [sys.executable, "-m", *command], env=module_environment(), capture_output=True, text=True, check=False
    )
    return f"report: {page}" if made.returncode == 0 else f"the report page was not written: {made.stderr.strip()}"
