"""The note of one trial in Optuna dashboard: objectives, constraints, architecture, stages, hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from urllib.parse import quote

from dashboards.architecture_table import architecture_table
from dashboards.build_text import STATE_WORDS, level_sentences, report_sentences, target_sentence
from dashboards.hardware_tables import REMARKS, cross_check_table, hardware_table, layer_table
from dashboards.text_table import markdown_table, plain_markdown, table_as_markdown
from search.measured_trials import MeasuredPoint, MeasuredTrial
from search.objectives import Constraint, Objective, keeps_all
from spaces.architecture import ArchitectureConfig
from spaces.metrics import ACCURACY, INFERENCE_COST
from spaces.pruning_stages import CostAwareStage, MagnitudeStage, PruningStage, StructuredStage, ThresholdStage
from spaces.search_space import Design
from storage.hardware_reports import BuildReport
from storage.records import Build, Evaluation


@dataclass(frozen=True)
class TrialFacts:
    """All that is known of a finished trial."""

    study_name: str
    trial_number: int
    state: str
    """Optuna's word in small letters: complete, pruned or fail."""
    design: Design | None
    """None where the trial's parameters describe no network that can be built."""
    result: MeasuredTrial | None
    """None unless the trial has points."""
    evaluations: tuple[Evaluation, ...]
    """In the order of the stages; empty where nothing was measured."""
    builds: tuple[Build, ...]
    """Of all stages, oldest first."""
    front_stages: tuple[int, ...]
    """The stages at whose end the network is on the front, in order."""
    copied_from: int | None
    """The earlier trial of the same network, whose values were copied."""
    message: str | None
    """Why the trial was stopped, cannot be built or failed."""
    is_stopped: bool
    """Whether the search stopped it early."""
    objectives: tuple[Objective, ...]
    """Of the study."""
    constraints: tuple[Constraint, ...]
    """Of the study."""

    @property
    def has_stages(self) -> bool:
        """Whether the trial has several networks, one at the end of each stage."""
        return len(self.evaluations) > 1


def trial_note(facts: TrialFacts) -> str:
    """The note as GitHub-flavoured Markdown; the same facts give the same text."""
    parts = [_headline(facts)]
    if facts.result is not None:
        parts.append(f"[The page of this trial]({trial_path(facts.study_name, facts.trial_number)})")
    if facts.message:
        parts.append(code_block(facts.message))
    if facts.result is not None and facts.constraints:
        parts.append(_constraint_table(facts, facts.result.last))
    if facts.design is not None:
        parts.append("### Architecture\n\n" + _architecture_table(facts.design.architecture))
    if facts.evaluations:
        parts.append("### Accuracy and cost\n\n" + _stage_table(facts))
        parts.append("### Density per layer\n\n" + _density_table(facts.evaluations))
    parts.extend(_hardware_part(facts))
    parts.extend(_build_part(build, facts) for build in facts.builds)
    if facts.result is not None:
        parts.append(_promotion_hint(facts, facts.result.last))
    return "\n\n".join(parts)


def trial_path(study_name: str, trial_number: int) -> str:
    """Where the server that shows the note has the trial's page."""
    return f"/pages/studies/{quote(study_name)}/trials/{trial_number}"


def code_block(text: str) -> str:
    """A block that shows `text` as it is, whatever Markdown it may look like."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.strip()}\n{fence}"


def _headline(facts: TrialFacts) -> str:
    if facts.result is None:
        words = {"pruned": "stopped early" if facts.is_stopped else "cannot be built", "fail": "failed"}
        return f"**Trial {facts.trial_number}**: {words.get(facts.state, facts.state)}."
    last = facts.result.last
    metrics = [objective.metric for objective in facts.objectives]
    values = ", ".join(f"{metric.label} **{metric.text(metric.read(last))}**" for metric in metrics)
    after = f" after stage {last.stage}" if facts.has_stages or facts.is_stopped else ""
    stopped = ", then stopped early" if facts.is_stopped else ""
    copied = "" if facts.copied_from is None else f" Copied from trial {facts.copied_from}, the same network."
    return f"**Trial {facts.trial_number}**: {values}{after}, {_place(facts, last)}{stopped}.{copied}"


def _place(facts: TrialFacts, last: MeasuredPoint) -> str:
    if facts.front_stages:
        return f"on the Pareto front{_name_stages(facts.front_stages) if facts.has_stages else ''}"
    return "not on the Pareto front" if keeps_all(facts.constraints, last) else "**infeasible**"


def _name_stages(stages: Sequence[int]) -> str:
    *others, last = map(str, stages)
    return f" with stages {', '.join(others)} and {last}" if others else f" with stage {last}"


def _constraint_table(facts: TrialFacts, last: MeasuredPoint) -> str:
    rows = [
        [
            bound.metric.label,
            bound.describe_bound(),
            bound.metric.text(bound.metric.read(last)),
            "yes" if bound.holds(last) else "**no**",
        ]
        for bound in facts.constraints
    ]
    network = f"after stage {last.stage}" if facts.has_stages else "this network"
    return markdown_table(["constraint", "bound", network, "holds"], rows)


def _architecture_table(architecture: ArchitectureConfig) -> str:
    table = architecture_table(architecture)
    return f"`{architecture.architecture_id}`\n\n{markdown_table(table.header, table.rows)}"


def _stage_table(facts: TrialFacts) -> str:
    header = ["stage", "pruning", "λ", "epochs", "accuracy", "η", "bit-ops", "weight bits", "mean density"]
    return markdown_table(header, [_stage_row(evaluation, facts.design) for evaluation in facts.evaluations])


def _stage_row(evaluation: Evaluation, design: Design | None) -> list[str]:
    name, pruning, weight_decay = _stage_settings(evaluation.stage, design)
    cost = evaluation.cost
    return [
        name,
        pruning,
        weight_decay,
        str(evaluation.epochs),
        ACCURACY.number(evaluation.accuracy),
        INFERENCE_COST.number(cost.inference_cost),
        f"{cost.bit_ops:,.0f}",
        f"{cost.weight_bits:,.0f}",
        f"{fmean(evaluation.density.values()):.1%}" if evaluation.density else "",
    ]


def _stage_settings(stage: int, design: Design | None) -> tuple[str, str, str]:
    if stage == 0:
        return "0, training", "", f"{design.training.weight_decay:.3g}" if design else ""
    if design is None or stage > len(design.stages):
        return f"{stage}, pruning", "", ""
    settings = design.stages[stage - 1]
    return f"{stage}, pruning", _describe_pruning(settings), f"{settings.weight_decay:.3g}"


def _describe_pruning(stage: PruningStage) -> str:
    match stage:
        case ThresholdStage():
            return f"ε {stage.epsilon:.3g}" + (" of each layer's rms" if stage.scope == "layer" else "")
        case CostAwareStage():
            return f"cost aware to η {stage.inference_cost:.4g}"
        case MagnitudeStage(fraction=None):
            return f"smallest to η {stage.inference_cost:.4g}"
        case MagnitudeStage():
            return f"{stage.fraction:.0%} of the weights"
        case StructuredStage():
            return f"{stage.fraction:.0%} of the channels"


def _density_table(evaluations: Sequence[Evaluation]) -> str:
    header = ["layer", *(f"stage {evaluation.stage}" for evaluation in evaluations)]
    rows = [
        [f"`{layer}`", *(_percent(evaluation.density.get(layer)) for evaluation in evaluations)]
        for layer in evaluations[-1].density
    ]
    return markdown_table(header, rows) + "\n\nFraction of weights that are not zero, after weight quantization."


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def _hardware_part(facts: TrialFacts) -> list[str]:
    table = hardware_table(None if facts.result is None else facts.result.last.hardware, facts.builds)
    if table is None:
        return []
    remarks = "\n".join(f"- {remark}" for remark in REMARKS)
    return [f"### Hardware\n\n{table_as_markdown(table)}\n\n{remarks}"]


def _build_part(build: Build, facts: TrialFacts) -> str:
    name = f"Build {build.build_id}{f' of stage {build.stage}' if facts.has_stages else ''}"
    lines = [f"### {name}: {build.target.board}, {STATE_WORDS[build.state]}", _build_list(build)]
    if build.message:
        lines.append(code_block(build.message))
    if build.log_tail:
        lines.append(f"The last lines of its log:\n\n{code_block(build.log_tail)}")
    if build.report is not None:
        lines.extend(_layer_parts(build.report))
    return "\n\n".join(lines)


def _layer_parts(report: BuildReport) -> list[str]:
    layers, cross_check = layer_table(report), cross_check_table(report)
    parts = [] if layers is None else [table_as_markdown(layers)]
    if cross_check is not None:
        parts += ["Cross-check by open-source tools, each layer by itself:", table_as_markdown(cross_check)]
    return parts


def _build_list(build: Build) -> str:
    """One point per sentence, for Optuna dashboard does not break long lines."""
    points = [plain_markdown(sentence) for sentence in (target_sentence(build), *level_sentences(build))]
    if build.is_below_threshold:
        points.append("**Below the accuracy threshold**: built to show the whole chain.")
    if build.test_accuracy is not None:
        points.append(f"Accuracy on the test part: **{build.test_accuracy:.2%}**.")
    if build.report is not None:
        verdict, *more = map(plain_markdown, report_sentences(build.report))
        is_verified = build.report.n_classes_equal == build.report.n_frames_verified
        points += [verdict if is_verified else f"**{verdict}**", *more]
    return "\n".join(f"- {point}" for point in points)


def _promotion_hint(facts: TrialFacts, last: MeasuredPoint) -> str:
    command = f"python -m search.promote {facts.study_name} {facts.trial_number}"
    again = " again" if facts.builds else ""
    if not facts.has_stages:
        return f"To send this network to FINN{again}: `{command}`"
    return f"To send its network after stage {last.stage} to FINN{again}: `{command} --stage {last.stage}`"
