"""A study as one HTML file that needs no server; its command: `python -m dashboards.report_page STUDY --out FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from markupsafe import Markup

from dashboards.build_text import build_sentences
from dashboards.hardware_tables import REMARKS, cross_check_table, hardware_table, layer_table
from dashboards.pareto_figure import pareto_front_figure
from dashboards.pareto_front import pareto_front_data
from dashboards.study_tables import (
    BUILD_COUNTS_REMARK,
    builds_table,
    constraints_table,
    finished_trials,
    front_table,
    hardware_target,
    lineage_table,
)
from dashboards.text_table import TEMPLATES, TextTable, table_as_html
from search.reports.lineage import LINEAGE_CAPTION
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError
from spaces.study_config import ConfigError, parse_study_config
from storage.artifacts import write_text_atomically
from storage.command_options import add_storage_option
from storage.commands import make_parser, run_command
from storage.database import Database, DatabaseError, open_existing_database
from storage.hardware_reports import HardwareEstimate
from storage.records import Build
from storage.studies import StudyRecord, load_study_record

PAGE = TEMPLATES.from_string("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.study_name }}: {{ title }}</title>
<style>
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
</style>
</head>
<body>
<h1>{{ report.study_name }}</h1>
<p class="quiet">{{ summary }}</p>
{% for plot in plots %}
{{ plot }}
{% endfor %}
{% if constraints %}
<h2>Constraints</h2>
{{ constraints }}
{% endif %}
{% if hardware_target %}
<p>Hardware metrics are FINN's estimates: {{ hardware_target }}.</p>
{% endif %}
<h2>Pareto front</h2>
{% if front %}
{{ front }}
{% else %}
<p>{{ "No trial keeps all constraints yet." if report.trials else "No trial is complete yet." }}</p>
{% endif %}
{% if lineage %}
<h2>Stages of the campaign</h2>
{{ lineage }}
<p class="quiet">{{ lineage_caption }}</p>
{% endif %}
<h2>FINN builds</h2>
{% if builds %}
{{ builds_table }}
<p class="quiet">{{ build_counts_remark }}</p>
{% for build in builds %}
<h3>{{ build.title }}</h3>
<p>{{ build.text }}</p>
{% if build.log_tail %}
<p>The last lines of its log:</p>
<pre>{{ build.log_tail }}</pre>
{% endif %}
{% if build.hardware %}
{{ build.hardware }}
<p class="quiet">{{ hardware_remarks }}</p>
{% endif %}
{% for layers in build.layers %}
{{ layers }}
{% endfor %}
{% endfor %}
{% else %}
<p>No trial was sent to FINN yet.</p>
{% endif %}
<h2>Study file</h2>
<pre>{{ study_file }}</pre>
<h2>Run with</h2>
{{ provenance }}
</body>
</html>
""")

PLOT_HEIGHT_PX = 580


@dataclass(frozen=True)
class _BuildSection:
    """What the page shows of one build."""

    title: str
    text: str
    log_tail: str | None
    hardware: Markup | None
    layers: tuple[Markup, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file and prints its path. Returns 2 where it cannot."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if not args.out.parent.is_dir():
            print(f"--out is {args.out}; expected a file in a folder that exists", file=sys.stderr)
            return 2
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
    """Writes the page atomically. Raises StudyError where the database has no such study."""
    report = load_study_report(database, study_name)
    record = load_study_record(database, study_name)
    assert record is not None  # load_study_report raises before
    write_text_atomically(path, report_page(report, record))


def report_page(report: StudyReport, record: StudyRecord) -> str:
    """The page: plots, front, builds, study file, versions. It loads nothing from the network."""
    return PAGE.render(
        report=report,
        title=_title(report),
        summary=_summary(report, record),
        plots=_plots(report),
        constraints=table_as_html(constraints_table(report)) if report.constraints else None,
        hardware_target=_hardware_target(report, record),
        front=table_as_html(front_table(report, with_architecture=True)) if report.front else None,
        lineage=table_as_html(lineage_table(report)) if report.campaign else None,
        lineage_caption=LINEAGE_CAPTION,
        builds=_build_sections(report),
        builds_table=table_as_html(builds_table(report)),
        build_counts_remark=BUILD_COUNTS_REMARK,
        hardware_remarks=" ".join(REMARKS),
        study_file=record.text,
        provenance=table_as_html(TextTable(("what", "version"), tuple(sorted(record.provenance.items())))),
    )


def _title(report: StudyReport) -> str:
    return "accuracy against " + " and ".join(objective.metric.label for objective in report.objectives[1:])


def _summary(report: StudyReport, record: StudyRecord) -> str:
    return (
        f"Started {record.created_at:%Y-%m-%d %H:%M} UTC. {finished_trials(report)}, {report.counts.running} running. "
        f"Accuracy threshold {report.threshold:.2%}, hypervolume {report.hypervolume:.4f}."
    )


def _plots(report: StudyReport) -> list[Markup]:
    return [
        Markup(
            pareto_front_figure(data)
            .update_layout(height=PLOT_HEIGHT_PX)
            .to_html(
                full_html=False,
                include_plotlyjs=index == 0,  # once for all plots
                div_id=f"pareto-front-{data.objective.name}",
                config={"displaylogo": False, "responsive": True},
            )
        )
        for index, data in enumerate(pareto_front_data(report))
    ]


def _hardware_target(report: StudyReport, record: StudyRecord) -> str | None:
    if not report.asks_for_hardware:
        return None
    return hardware_target(parse_study_config(record.text, f"study {record.name}"))


def _build_sections(report: StudyReport) -> list[_BuildSection]:
    estimates = {point.key: point.hardware for trial in report.trials for point in trial.points}
    return [_build_section(build, estimates.get((build.trial_number, build.stage))) for build in report.builds]


def _build_section(build: Build, estimate: HardwareEstimate | None) -> _BuildSection:
    report = build.report
    hardware = None if report is None else hardware_table(estimate, [build])
    layers = () if report is None else (layer_table(report), cross_check_table(report))
    return _BuildSection(
        title=f"{build.network.capitalize()}: build {build.build_id}, {build.target.board}",
        text=" ".join(build_sentences(build)),
        log_tail=build.log_tail,
        hardware=None if hardware is None else table_as_html(hardware),
        layers=tuple(table_as_html(table) for table in layers if table is not None),
    )


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m dashboards.report_page",
        description="Writes a study's Pareto plot, front and builds as one HTML file.",
    )
    parser.add_argument("study", help="name of the study")
    add_storage_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command(main)
