"""One HTML file that shows a study without any server: `python -m dashboards.report_page STUDY --out FILE.html`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import optuna

from dashboards.build_text import build_sentences
from dashboards.hardware_tables import REMARKS, hardware_table, layer_table, second_opinion_table
from dashboards.pareto_figure import pareto_front_figure
from dashboards.pareto_front import pareto_front_data
from dashboards.study_tables import (
    BUILD_COUNTS_REMARK,
    builds_table,
    constraints_table,
    finished_trials,
    front_table,
    hardware_target,
)
from dashboards.text_table import TextTable, table_as_html
from search.study import StudyError
from search.study_report import StudyReport, load_study_report
from spaces.study_config import ConfigError, parse_study_config
from storage.artifacts import write_text_atomically
from storage.command_options import add_storage_option
from storage.database import Database, DatabaseError, open_existing_database
from storage.hardware_reports import HardwareEstimate
from storage.records import Build
from storage.studies import StudyRecord, load_study_record

STYLE = """
body { font: 15px/1.5 Helvetica, Arial, sans-serif; color: #2b3038 }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem }
h3 { font-size: 1rem; margin-top: 1.8rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto; margin: .8rem 0 }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e3e7ec; white-space: nowrap }
th { font-weight: 600; white-space: normal; vertical-align: bottom }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
.marked { font-weight: 600 }
pre { background: #f5f7f9; padding: 1rem; overflow-x: auto; font-size: 13px }
.quiet { color: #69717c }
"""

PLOT_HEIGHT_PX = 580


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file and prints its path; exit code 2 where it cannot."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        write_report_page(open_existing_database(args.storage), args.study, args.out)
    except (ConfigError, DatabaseError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"--out is {args.out}; it cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(args.out)
    return 0


def write_report_page(database: Database, study_name: str, path: Path) -> None:
    """Writes the page by rename. Raises StudyError where the database has no such study."""
    report = load_study_report(database, study_name)
    record = load_study_record(database, study_name)
    assert record is not None  # load_study_report raises before
    write_text_atomically(path, report_page(report, record))


def report_page(report: StudyReport, record: StudyRecord) -> str:
    """The page: plots, front, builds, the study's YAML and what it was run with; needs no network to be shown."""
    name = escape(report.study_name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: {escape(_title(report))}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p class="quiet">{escape(_summary(report, record))}</p>
{_plots(report)}
{_constraints(report, record)}
<h2>Pareto front</h2>
{_front(report)}
<h2>FINN builds</h2>
{_builds(report)}
<h2>Study file</h2>
<pre>{escape(record.text)}</pre>
<h2>Run with</h2>
{table_as_html(TextTable(("what", "version"), tuple(sorted(record.provenance.items()))))}
</body>
</html>
"""


def _title(report: StudyReport) -> str:
    return "accuracy against " + " and ".join(objective.metric.label for objective in report.objectives[1:])


def _summary(report: StudyReport, record: StudyRecord) -> str:
    return (
        f"Started {record.created_at:%Y-%m-%d %H:%M} UTC. {finished_trials(report)}, {report.counts.running} running. "
        f"Accuracy threshold {report.threshold:.2%}, hypervolume {report.hypervolume:.4f}."
    )


def _plots(report: StudyReport) -> str:
    options = {"displaylogo": False, "responsive": True}
    return "\n".join(
        pareto_front_figure(data)
        .update_layout(height=PLOT_HEIGHT_PX)
        .to_html(
            full_html=False,
            include_plotlyjs=index == 0,  # once for all plots
            div_id=f"pareto-front-{data.objective.name}",
            config=options,
        )
        for index, data in enumerate(pareto_front_data(report))
    )


def _constraints(report: StudyReport, record: StudyRecord) -> str:
    parts = ["<h2>Constraints</h2>", table_as_html(constraints_table(report))] if report.constraints else []
    if report.asks_for_hardware:
        target = hardware_target(parse_study_config(record.text, f"study {record.name}"))
        parts.append(f"<p>Hardware metrics are FINN's estimates: {escape(target)}.</p>")
    return "\n".join(parts)


def _front(report: StudyReport) -> str:
    if report.front:
        return table_as_html(front_table(report, with_architecture=True))
    return "<p>No trial keeps all constraints yet.</p>" if report.trials else "<p>No trial is complete yet.</p>"


def _builds(report: StudyReport) -> str:
    if not report.builds:
        return "<p>No trial was sent to FINN yet.</p>"
    estimates = {trial.trial_number: trial.hardware for trial in report.trials}
    details = [_build_details(build, estimates.get(build.trial_number)) for build in report.builds]
    remark = f'<p class="quiet">{escape(BUILD_COUNTS_REMARK)}</p>'
    return "\n".join([table_as_html(builds_table(report.builds)), remark, *details])


def _build_details(build: Build, estimate: HardwareEstimate | None) -> str:
    parts = [
        f"<h3>Trial {build.trial_number}: build {build.build_id}, {escape(build.target.board)}</h3>",
        f"<p>{escape(' '.join(build_sentences(build)))}</p>",
    ]
    if build.log_tail:
        parts.append(f"<p>The last lines of its log:</p>\n<pre>{escape(build.log_tail)}</pre>")
    if build.report is not None:
        hardware = hardware_table(estimate, [build])
        assert hardware is not None  # there is a report
        parts += [table_as_html(hardware), f'<p class="quiet">{escape(" ".join(REMARKS))}</p>']
        tables = layer_table(build.report), second_opinion_table(build.report)
        parts.extend(table_as_html(table) for table in tables if table is not None)
    return "\n".join(parts)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dashboards.report_page",
        description="Writes a study's Pareto plot, front and builds as one HTML file.",
    )
    parser.add_argument("study", help="name of the study")
    add_storage_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
