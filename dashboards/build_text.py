"""A build in sentences: how far it got, why no further, whether it is right, why it failed."""

from __future__ import annotations

from storage.hardware_reports import BuildReport
from storage.records import Build, BuildLevel, BuildState
from storage.rtl_record import RtlCheck

STATE_WORDS = {
    BuildState.QUEUED: "queued, waits for a build worker",
    BuildState.RUNNING: "running",
    BuildState.SUCCEEDED: "succeeded",
    BuildState.FAILED: "failed",
}

LEVEL_WORDS = {
    BuildLevel.ESTIMATE: "FINN's estimates",
    BuildLevel.CODEGEN: "generated hardware code",
    BuildLevel.STITCHED_IP: "one IP core",
    BuildLevel.OUT_OF_CONTEXT_SYNTH: "the core synthesised by itself",
    BuildLevel.BITFILE: "a bitfile",
}


def level_sentences(build: Build) -> list[str]:
    """How far the build got, why no further, and what it waits for. Empty before its first level."""
    if build.level is None:
        return []
    levels = list(BuildLevel)
    sentences = [
        f"Reached level {levels.index(build.level) + 1} of {len(levels)}, {build.level.value}: "
        f"{LEVEL_WORDS[build.level]}."
    ]
    if build.level_note:
        sentences.append(f"No further: {build.level_note.rstrip('.')}.")
    if build.next_level is not None:
        sentences.append(f"Waits for {build.next_level.value}: {LEVEL_WORDS[build.next_level]}.")
    return sentences


def target_sentence(build: Build) -> str:
    """What the build must reach."""
    return f"Target: {build.target.target_fps:,} frames/s at a clock of {build.target.clk_period_ns:g} ns."


def verification_sentences(report: BuildReport) -> list[str]:
    """Whether FINN's graph computes the same as the trained network. The first sentence is the verdict."""
    equal, total = report.n_classes_equal, report.n_frames_verified
    if total == 0:
        return ["Not verified: no frames were run through FINN's graph."]
    verdict = "Verified" if equal == total else "Verification failed"
    sentences = [f"{verdict}: FINN's graph gave the class of the trained network on {equal} of {total} frames."]
    if report.agreements:
        counts = ", ".join(f"{agreement.graph} {agreement.n_scores_equal}" for agreement in report.agreements)
        sentences.append(f"Frames with all integer scores equal: {counts}.")
    if report.not_executed is not None:
        sentences.append(f"Not executed: {report.not_executed}.")
    return sentences


def rtl_sentences(report: BuildReport) -> list[str]:
    """The cross-check's results, then each layer that differs. Empty where there was no cross-check."""
    check = report.rtl_check
    if check is None:
        return []
    return [_synthesis_sentence(check, report), *_simulation_sentences(check)]


def _synthesis_sentence(check: RtlCheck, report: BuildReport) -> str:
    n_synthesised = sum(layer.by_yosys is not None for layer in report.layers)
    if n_synthesised == 0:
        return "Yosys could not synthesise the generated code of any layer."
    return f"{check.yosys} synthesised the generated code of {n_synthesised} of {len(report.layers)} layers."


def _simulation_sentences(check: RtlCheck) -> list[str]:
    if check.verilator is None:
        return ["The generated code was not simulated: Verilator is missing."]
    simulated = [layer for layer in check.layers if layer.is_equal is not None]
    n_equal = sum(layer.is_equal is True for layer in simulated)
    summary = (
        f"{check.verilator} simulated {len(simulated)} of {len(check.layers)} layers on {check.n_frames} recorded "
        f"frames; {n_equal} of them gave exactly the expected output."
    )
    return [summary, *(f"{layer.name} differs: {layer.simulation_note}." for layer in simulated if not layer.is_equal)]


def vivado_sentences(report: BuildReport) -> list[str]:
    """Which Vivado measured, and where bitfile and driver are in the build's folder."""
    measured = report.measured
    if measured is None:
        return []
    version = [] if measured.vivado is None else [f"Measured by Vivado {measured.vivado}."]
    paths = {"Bitfile": measured.bitfile, "Bitfile and driver": measured.deployment}
    return version + [f"{what}: {path} in the build's folder." for what, path in paths.items() if path]


def report_sentences(report: BuildReport) -> list[str]:
    """A whole report in sentences. The verification's verdict comes first."""
    return [*verification_sentences(report), *rtl_sentences(report), *vivado_sentences(report)]


def build_sentences(build: Build) -> list[str]:
    """A whole build in sentences, for one paragraph."""
    sentences = [target_sentence(build), *level_sentences(build)]
    if build.is_below_threshold:
        sentences.append("Below the accuracy threshold; built to show the whole chain.")
    if build.message:
        sentences.append(f"Failed: {build.message}")
    if build.report is not None:
        sentences.extend(report_sentences(build.report))
    return sentences
