"""The note of one trial in Optuna dashboard, in Markdown: architecture, accuracy and cost per stage, builds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from spaces.architecture import ArchitectureConfig, BlockShape, infer_shapes
from spaces.search_space import Design
from storage.records import Build, BuildReport, BuildState, Evaluation

BUILD_STATE_WORDS = {
    BuildState.QUEUED: "queued, waits for a build worker (`python -m fpga.run`)",
    BuildState.RUNNING: "running",
    BuildState.SUCCEEDED: "succeeded",
    BuildState.FAILED: "failed",
}

COLUMN_GAP = "\N{EM SPACE}"


@dataclass(frozen=True)
class TrialFacts:
    """All that is known of a finished trial."""

    study_name: str
    trial_number: int
    state: str
    """Optuna's word in small letters: complete, pruned or fail."""
    design: Design | None
    """None where the parameters give no network that can be built."""
    accuracy: float | None
    inference_cost: float | None
    evaluations: tuple[Evaluation, ...]
    """By stage; empty unless something was measured."""
    builds: tuple[Build, ...]
    """Oldest first."""
    is_on_front: bool
    copied_from: int | None
    """The earlier trial of the same network, whose result this one has."""
    message: str | None
    """Why the trial was stopped or failed."""


def trial_note(facts: TrialFacts) -> str:
    """The note as GitHub-flavoured Markdown; the same facts give the same text."""
    parts = [_headline(facts)]
    if facts.message:
        parts.append(code_block(facts.message))
    if facts.design is not None:
        parts.append("### Architecture\n\n" + _architecture_table(facts.design.architecture))
    if facts.evaluations:
        parts.append("### Accuracy and cost\n\n" + _stage_table(facts.evaluations, facts.design))
        parts.append("### Density per layer\n\n" + _density_table(facts.evaluations))
    parts.extend(_build_part(build) for build in facts.builds)
    if facts.state == "complete":
        parts.append(_promotion_hint(facts))
    return "\n\n".join(parts)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is to the left and all others to the right; cells must not hold line breaks or |."""
    lines = [_table_line(header), "| :-- |" + " --: |" * (len(header) - 1), *(_table_line(row) for row in rows)]
    return "\n".join(lines)


def _table_line(cells: Sequence[str]) -> str:
    """Wide spaces between the cells, which Optuna dashboard would draw side by side."""
    return f"| {' | '.join([cells[0], *(COLUMN_GAP + cell for cell in cells[1:])])} |"


def code_block(text: str) -> str:
    """`text` as it is, whatever Markdown it may hold."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.strip()}\n{fence}"


def _headline(facts: TrialFacts) -> str:
    if facts.accuracy is None or facts.inference_cost is None:
        words = {"pruned": "cannot be built", "fail": "failed"}
        return f"**Trial {facts.trial_number}**: {words.get(facts.state, facts.state)}."
    place = "on the Pareto front" if facts.is_on_front else "not on the Pareto front"
    copied = "" if facts.copied_from is None else f" Same network as trial {facts.copied_from}: measured there."
    return (
        f"**Trial {facts.trial_number}**: accuracy **{facts.accuracy:.2%}**, "
        f"inference cost η **{facts.inference_cost:.4g}**, {place}.{copied}"
    )


def _architecture_table(architecture: ArchitectureConfig) -> str:
    header = ["block", "kernel", "stride", "channels", "weight bits", "activation bits", "output"]
    rows = [
        _block_row(block.model_dump(), shape)
        for block, shape in zip(architecture.blocks, infer_shapes(architecture), strict=True)
    ]
    return f"`{architecture.architecture_id}`\n\n{markdown_table(header, rows)}"


def _block_row(block: Mapping[str, object], shape: BlockShape) -> list[str]:
    name = str(block["type"]) + (" (residual)" if shape.is_residual else "")
    activation_bits = block.get("activation_bit_width") or block.get("bit_width")
    cells = [block.get("kernel_size"), block.get("stride"), block.get("out_channels") or block.get("out_features")]
    cells += [block.get("weight_bit_width"), activation_bits]
    return [name, *(_cell(cell) for cell in cells), f"{shape.out_channels} × {shape.out_length}"]


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _stage_table(evaluations: Sequence[Evaluation], design: Design | None) -> str:
    header = ["stage", "ε", "λ", "epochs", "accuracy", "η", "bit-ops", "weight bits", "mean density"]
    return markdown_table(header, [_stage_row(evaluation, design) for evaluation in evaluations])


def _stage_row(evaluation: Evaluation, design: Design | None) -> list[str]:
    name, epsilon, weight_decay = _stage_settings(evaluation.stage, design)
    cost = evaluation.cost
    return [
        name,
        epsilon,
        weight_decay,
        str(evaluation.epochs),
        f"{evaluation.accuracy:.2%}",
        f"{cost.inference_cost:.4g}",
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
    return f"{stage}, pruning", f"{settings.epsilon:.3g}", f"{settings.weight_decay:.3g}"


def _density_table(evaluations: Sequence[Evaluation]) -> str:
    header = ["layer", *(f"stage {evaluation.stage}" for evaluation in evaluations)]
    rows = [
        [f"`{layer}`", *(_percent(evaluation.density.get(layer)) for evaluation in evaluations)]
        for layer in evaluations[-1].density
    ]
    return markdown_table(header, rows) + "\n\nFraction of weights that are not zero, after weight quantization."


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def _build_part(build: Build) -> str:
    target = build.target
    lines = [
        f"### Build {build.build_id}: {target.board}, {BUILD_STATE_WORDS[build.state]}",
        f"Asked for {target.target_fps:,} frames/s at {target.clk_period_ns:g} ns.",
    ]
    if build.is_below_threshold:
        lines.append("**Below the accuracy threshold**: built so that the whole chain is seen.")
    if build.test_accuracy is not None:
        lines.append(f"Accuracy on the test part: **{build.test_accuracy:.2%}**.")
    if build.message:
        lines.append(code_block(build.message))
    if build.report is not None:
        lines.append(_report_table(build.report))
        if build.report.layers:
            lines.append(_layer_table(build.report))
        lines.append(verification_sentence(build.report))
    return "\n\n".join(lines)


def _report_table(report: BuildReport) -> str:
    rows = [
        *_lut_rows(report),
        ["BRAM (18 Kb)", f"{report.bram_18k:,}"],
        ["URAM", f"{report.uram:,}"],
        ["DSP", f"{report.dsp:,}"],
        ["throughput", f"{report.throughput_fps:,.0f} frames/s"],
        ["latency", f"{report.latency_us:,.1f} µs"],
        ["slowest layer", f"`{report.bottleneck_layer}`, {report.bottleneck_cycles:,} cycles"],
    ]
    return markdown_table(["FINN's estimate", ""], rows)


def _lut_rows(report: BuildReport) -> list[list[str]]:
    if report.connected is None:
        return [["LUT", f"{report.lut:,}"]]
    share = "" if report.available is None else f", {report.connected.lut / report.available.lut:.1%} of the board"
    return [
        ["LUT, layers alone", f"{report.lut:,}"],
        ["LUT, with width converters and FIFOs", f"{report.connected.lut:,}{share}"],
    ]


def _layer_table(report: BuildReport) -> str:
    header = ["layer", "PE", "SIMD", "cycles", "LUT", "BRAM", "URAM", "DSP"]
    rows = [
        [f"`{layer.name}`", _cell(layer.pe), _cell(layer.simd)]
        + [f"{value:,}" for value in (layer.cycles, layer.lut, layer.bram_18k, layer.uram, layer.dsp)]
        for layer in report.layers
    ]
    return markdown_table(header, rows)


def verification_sentence(report: BuildReport) -> str:
    """Whether FINN's graph computes what the trained network does, in one sentence."""
    equal, total = report.n_classes_equal, report.n_frames_verified
    if total == 0:
        return "Not verified: no frames were run through FINN's graph."
    verdict = "Verified" if equal == total else "**Not equal**"
    sentence = f"{verdict}: FINN's graph gave the class of the trained network on {equal} of {total} frames."
    if report.agreements:
        counts = ", ".join(f"{agreement.graph} {agreement.n_scores_equal}" for agreement in report.agreements)
        sentence += f" Frames with all integer scores equal: {counts}."
    return sentence if report.not_executed is None else f"{sentence} Not executed: {report.not_executed}."


def _promotion_hint(facts: TrialFacts) -> str:
    command = f"python -m search.promote {facts.study_name} {facts.trial_number}"
    return f"To send this network to FINN{' again' if facts.builds else ''}: `{command}`"
