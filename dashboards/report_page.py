"""One HTML file that shows a study without any server: `python -m dashboards.report_page STUDY --out FILE.html`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import optuna

from dashboards.pareto_front import pareto_front_data, pareto_front_figure
from dashboards.trial_note import verification_sentence
from search.report import StudyReport, TrialReport, load_study_report
from search.study import StudyError
from spaces.study_config import ConfigError
from storage.artifacts import write_text_atomically
from storage.database import DEFAULT_DATABASE_URL, Database, DatabaseError, open_existing_database
from storage.records import Build
from storage.studies import StudyRecord, load_study_record

STYLE = """
body { font: 15px/1.5 Helvetica, Arial, sans-serif; color: #2b3038; max-width: 62rem; margin: 2rem auto }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e3e7ec; white-space: nowrap }
th { font-weight: 600 } th:first-child, td:first-child { text-align: left; padding-left: 0 }
td.text { white-space: normal; text-align: left }
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
    """The page: plot, front, builds, the study's YAML and what it was run with; needs no network to be shown."""
    name = escape(report.study_name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: accuracy against inference cost</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p class="quiet">{escape(_summary(report, record))}</p>
{_plot(report)}
<h2>Pareto front</h2>
{_front(report)}
<h2>FINN builds</h2>
{_builds(report.builds)}
<h2>Study file</h2>
<pre>{escape(record.text)}</pre>
<h2>Run with</h2>
{_table(("what", "version"), [(escape(key), escape(value)) for key, value in sorted(record.provenance.items())])}
</body>
</html>
"""


def _summary(report: StudyReport, record: StudyRecord) -> str:
    counts = report.counts
    return (
        f"Started {record.created_at:%Y-%m-%d %H:%M} UTC. {counts.complete} trials complete, {counts.running} running, "
        f"{counts.pruned} could not be built, {counts.failed} failed. Accuracy threshold {report.threshold:.2%}, "
        f"hypervolume {report.hypervolume:.4f}."
    )


def _plot(report: StudyReport) -> str:
    figure = pareto_front_figure(pareto_front_data(report)).update_layout(height=PLOT_HEIGHT_PX)
    options = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=True, div_id="pareto-front", config=options))


def _front(report: StudyReport) -> str:
    if not report.front:
        return "<p>No trial is complete yet.</p>"
    header = ("trial", "accuracy", "reaches threshold", "inference cost η", "bit-ops", "weight bits", "parameters")
    return _table((*header, "architecture"), [_front_row(trial, report.threshold) for trial in report.front])


def _front_row(trial: TrialReport, threshold: float) -> tuple[str, ...]:
    return (
        str(trial.trial_number),
        f"{trial.accuracy:.2%}",
        "yes" if trial.accuracy >= threshold else "no",
        f"{trial.inference_cost:.4g}",
        f"{trial.bit_ops:,.0f}",
        f"{trial.weight_bits:,.0f}",
        f"{trial.parameters:,}",
        f"<code>{escape(trial.architecture_id)}</code>",
    )


def _builds(builds: Sequence[Build]) -> str:
    if not builds:
        return "<p>No trial was sent to FINN yet.</p>"
    header = (
        "trial",
        "state",
        "board",
        "clock ns",
        "LUT",
        "BRAM18",
        "URAM",
        "DSP",
        "frames/s",
        "latency µs",
        "test accuracy",
    )
    notes = [f"<p>Trial {build.trial_number}: {escape(note)}</p>" for build in builds for note in _build_notes(build)]
    return "\n".join([_table(header, [_build_row(build) for build in builds]), *notes])


def _build_row(build: Build) -> tuple[str, ...]:
    report = build.report
    numbers: tuple[str, ...] = ("",) * 6
    if report is not None:
        counts = (f"{count:,}" for count in (report.lut, report.bram_18k, report.uram, report.dsp))
        numbers = (*counts, f"{report.throughput_fps:,.0f}", f"{report.latency_us:,.1f}")
    return (
        str(build.trial_number),
        build.state.value,
        escape(build.target.board),
        f"{build.target.clk_period_ns:g}",
        *numbers,
        "" if build.test_accuracy is None else f"{build.test_accuracy:.2%}",
    )


def _build_notes(build: Build) -> Iterable[str]:
    if build.is_below_threshold:
        yield "below the accuracy threshold, built so that the whole chain is seen."
    if build.message:
        yield build.message
    if build.report is not None:
        yield verification_sentence(build.report)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dashboards.report_page",
        description="Writes a study's Pareto plot, front and builds as one HTML file.",
    )
    parser.add_argument("study", help="name of the study")
    parser.add_argument("--storage", default=DEFAULT_DATABASE_URL, metavar="URL", help="database (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
