"""A staged campaign as a tree: which network each stage began with, what came of it, and which one it handed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search.measured_trials import MeasuredPoint
from search.reports.study_report import StudyReport
from spaces.pruning_stages import PruningStage


@dataclass(frozen=True)
class LineageRow:
    """One network of a campaign: that of a trial at its end."""

    stage: str
    """Name of the campaign's stage."""
    depth: int
    """0 is the first stage; a network lies below the one that it was made from."""
    point: MeasuredPoint
    is_chosen: bool
    """Whether its stage handed it on."""

    @property
    def pruning(self) -> PruningStage | None:
        """The round of pruning that its stage drew; None in a stage before them."""
        stages = self.point.design.stages
        return stages[-1] if stages else None

    @property
    def compression(self) -> float | None:
        """Weight bits of the network before any pruning, against those that are left; None where none are."""
        left = self.point.cost.weight_bits
        return self.point.trial.points[0].cost.weight_bits / left if left else None

    @property
    def weight_decay(self) -> float | None:
        """The papers' lambda of its round of pruning."""
        return getattr(self.pruning, "weight_decay", None)

    @property
    def epsilon(self) -> float | None:
        """Below it, the round removed weights."""
        return getattr(self.pruning, "epsilon", None)


def list_lineage(report: StudyReport) -> list[LineageRow]:
    """Of a staged campaign in the order of a tree: below each network those that were made from it. Else empty."""
    points = [trial.last for trial in report.trials if trial.campaign_stage is not None]
    return list(_list_below(report, points, None, 0))


def _list_below(
    report: StudyReport, points: Sequence[MeasuredPoint], base: int | None, depth: int
) -> Iterator[LineageRow]:
    for point in points:
        index = point.trial.campaign_stage
        if point.trial.base == base and index is not None:
            chosen = report.chosen[index] == point.trial_number
            yield LineageRow(report.campaign[index].name, depth, point, chosen)
            yield from _list_below(report, points, point.trial_number, depth + 1)


LINEAGE_CAPTION = "* is handed on to the next stage; compression: weight bits before pruning to those left"

LINEAGE_HEADER = ("network", "lambda", "epsilon", "accuracy", "inference cost η", "compression")


def lineage_cells(row: LineageRow) -> tuple[str, ...]:
    """One row below `LINEAGE_HEADER`. A star marks the network that its stage handed on."""
    mark = " *" if row.is_chosen else ""
    indent = "\N{NO-BREAK SPACE}" * 3 * (row.depth - 1) + "└ " if row.depth else ""
    return (
        f"{indent}{row.stage}, trial {row.point.trial_number}{mark}",
        "" if row.weight_decay is None else f"{row.weight_decay:.2g}",
        "" if row.epsilon is None else f"{row.epsilon:.3g}",
        f"{row.point.accuracy:.2%}",
        f"{row.point.inference_cost:.6f}",
        "" if row.compression is None else f"{row.compression:.1f}",
    )
