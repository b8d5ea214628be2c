"""A study's report for programs: one JSON object, and the front as CSV."""

from __future__ import annotations

import csv
import io

from search.measured_trials import MeasuredPoint
from search.objectives import Constraint
from search.reports.lineage import LineageRow, list_lineage
from search.reports.paper_table import find_paper_table, list_paper_rows
from search.reports.study_report import StudyReport
from spaces.metrics import HARDWARE_METRICS, Source
from storage.hardware_reports import Resources
from storage.records import Build

FORMAT = 3
"""Of the JSON object; raised where a key gets another meaning."""

CSV_COLUMNS = (
    "trial",
    "stage",
    "accuracy",
    "inference_cost",
    "target_inference_cost",
    "bit_ops",
    "weight_bits",
    "parameters",
    "epochs",
    "architecture_id",
    "n_seeds",
    "mean_accuracy",
    "accuracy_low",
    "accuracy_high",
)

RESOURCE_KEYS = (*(metric.field_name for metric in HARDWARE_METRICS if metric.source is Source.RESOURCES), "uram")
"""Of the front and of builds: with FIFOs and width converters."""

SPEED_KEYS = tuple(metric.field_name for metric in HARDWARE_METRICS if metric.source is Source.SPEED)


def report_as_json(report: StudyReport) -> dict[str, object]:
    """The report for programs; its keys are kept stable and described in the README."""
    return {
        "format": FORMAT,
        "study": report.study_name,
        "threshold": report.threshold,
        "objectives": {objective.name: objective.metric.direction for objective in report.objectives},
        "constraints": {constraint.name: _constraint_as_json(constraint) for constraint in report.constraints},
        "hypervolume": report.hypervolume,
        "trials": vars(report.counts),
        "front": [point_as_json(point, report) for point in report.front],
        "builds": [_build_as_json(build) for build in report.builds],
        **_paper_as_json(report),
        **({"lineage": [_lineage_as_json(row) for row in list_lineage(report)]} if report.campaign else {}),
    }


def front_as_csv(report: StudyReport) -> str:
    """The front as comma-separated values with a header line."""
    lines = io.StringIO()
    hardware = (*RESOURCE_KEYS, *SPEED_KEYS) if report.asks_for_hardware else ()
    feasible = ("is_feasible",) if report.asks_for_hardware or report.constraints else ()
    writer = csv.DictWriter(lines, (*CSV_COLUMNS, *hardware, *feasible), lineterminator="\n")
    writer.writeheader()
    writer.writerows(point_as_json(point, report) for point in report.front)
    return lines.getvalue()


def _constraint_as_json(constraint: Constraint) -> dict[str, float]:
    return {"at_most" if constraint.at_least is None else "at_least": constraint.bound}


def point_as_json(point: MeasuredPoint, report: StudyReport) -> dict[str, object]:
    """One network, as plain values."""
    judgement = report.judge(point)
    low, high = judgement.interval
    values: dict[str, object] = {
        "trial": point.trial_number,
        "stage": point.stage,
        "accuracy": point.accuracy,
        "inference_cost": point.inference_cost,
        "target_inference_cost": point.target_inference_cost,
        "bit_ops": point.cost.bit_ops,
        "weight_bits": point.cost.weight_bits,
        "parameters": point.cost.parameters,
        "epochs": point.evaluation.epochs,
        "architecture_id": point.architecture.architecture_id,
        "n_seeds": len(judgement.accuracies),
        "mean_accuracy": judgement.mean,
        "accuracy_low": low,
        "accuracy_high": high,
    }
    if point.hardware is not None:
        values |= {name: getattr(point.hardware, name) for name in (*RESOURCE_KEYS, *SPEED_KEYS)}
    if point.hardware is not None or report.constraints:
        values["is_feasible"] = report.is_feasible(point)
    return values


def _paper_as_json(report: StudyReport) -> dict[str, object]:
    paper = find_paper_table(report)
    if paper is None:
        return {}
    rows = [
        {
            "network": row.label,
            "published_accuracy": row.published.accuracy,
            "published_inference_cost": row.published.inference_cost,
            "accuracies": [point.accuracy for point in row.points],
            "inference_costs": [point.inference_cost for point in row.points],
        }
        for row in list_paper_rows(paper, report)
    ]
    return {"paper": {"title": paper.title, "source": paper.source, "rows": rows}}


def _lineage_as_json(row: LineageRow) -> dict[str, object]:
    return {
        "campaign_stage": row.stage,
        "trial": row.point.trial_number,
        "base": row.point.trial.base,
        "is_chosen": row.is_chosen,
        "weight_decay": row.weight_decay,
        "epsilon": row.epsilon,
        "accuracy": row.point.accuracy,
        "inference_cost": row.point.inference_cost,
        "compression": row.compression,
    }


def _build_as_json(build: Build) -> dict[str, object]:
    report = build.report
    return {
        "trial": build.trial_number,
        "stage": build.stage,
        "state": build.state.value,
        "level": build.level and build.level.value,
        "level_note": build.level_note,
        "board": build.target.board,
        "clk_period_ns": build.target.clk_period_ns,
        "target_fps": build.target.target_fps,
        "is_below_threshold": build.is_below_threshold,
        "test_accuracy": build.test_accuracy,
        "message": build.message,
        **_resources_as_json(None if report is None else report.connected),
        "layers_only": None if report is None else _resources_as_json(report.layers_only),
        **{key: report and getattr(report, key) for key in SPEED_KEYS},
    }


def _resources_as_json(resources: Resources | None) -> dict[str, int | None]:
    return {key: None if resources is None else getattr(resources, key) for key in RESOURCE_KEYS}
