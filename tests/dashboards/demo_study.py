"""Studies as the search leaves them, but without training. Tables and costs are real; other metrics are formulas."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna

from search.measured_trials import MeasuredTrial
from search.study import ask_trial, open_study, tell_failure, tell_measured, tell_unbuildable
from spaces.search_space import Design
from spaces.study_config import parse_study_config
from storage.builds import claim_build, fail_build, finish_build, queue_build
from storage.database import Database, open_database
from storage.evaluations import record_evaluation
from storage.hardware_reports import BuildReport, GraphAgreement, HardwareEstimate, LayerReport, Resources
from storage.records import Build, BuildLevel, BuildRequest, BuildTarget, Evaluation, FinishedBuild
from storage.studies import load_study_record
from workers.inference_cost import count_cost, list_mac_layers

STUDY_FILE = """
study: {name: %s, seed: 5, sampler: random}
%s
space:
  blocks:
    - {type: input_quantizer, bit_width: 8}
    - type: depthwise_separable
      kernel_size: {choices: [9, 15, 21, 27]}
      stride: {choices: [1, 2, 4]}
      out_channels: {int: [8, 48], step: 8}
      weight_bit_width: {int: [2, 8]}
      activation_bit_width: {int: [2, 8]}
    - type: depthwise_separable
      kernel_size: {choices: [5, 9, 15]}
      stride: {choices: [1, 2]}
      out_channels: {int: [8, 64], step: 8}
      weight_bit_width: {int: [2, 8]}
      activation_bit_width: {int: [2, 8]}
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 6}
pruning:
  stages:
    - {epsilon: 0.15, weight_decay: 5.0e-5, epochs: 2}
budget: {trials: 40, epochs: 6}
"""

TWO_OBJECTIVES = """
objectives: {accuracy: {direction: maximize, threshold: 0.56}, inference_cost: {direction: minimize}}
"""

HARDWARE = """
objectives: {accuracy: {direction: maximize, threshold: 0.56}, lut: {direction: minimize}}
constraints: {throughput_fps: {at_least: 100000}, lut: {at_most: 25000}}
"""

THREE_OBJECTIVES = """
objectives:
  accuracy: {direction: maximize, threshold: 0.56}
  lut: {direction: minimize}
  throughput_fps: {direction: maximize}
constraints: {dsp: {at_most: 60}}
"""

ZCU111 = Resources(lut=425_280, bram_18k=2_160, uram=80, dsp=4_272)

BUILD_REPORT = BuildReport(
    lut=18432,
    bram_18k=27,
    uram=0,
    dsp=12,
    throughput_fps=101562.5,
    latency_us=61.3,
    bottleneck_layer="MVAU_hls_2",
    bottleneck_cycles=2048,
    n_frames_verified=100,
    n_classes_equal=100,
)

LAYERS = (  # name, PE, SIMD, cycles, LUT, BRAM18, DSP
    ("ConvolutionInputGenerator_rtl_0", None, 1, 1_065, 412, 1, 0),
    ("VVAU_hls_0", 2, 9, 1_536, 2_210, 3, 0),
    ("MVAU_hls_0", 8, 4, 1_536, 5_120, 8, 4),
    ("ConvolutionInputGenerator_rtl_1", None, 2, 1_044, 530, 2, 0),
    ("MVAU_hls_2", 12, 4, 2_048, 9_640, 12, 8),
    ("LabelSelect_hls_0", 1, None, 24, 520, 1, 0),
)

DETAILED_BUILD_REPORT = replace(
    BUILD_REPORT,
    connected=Resources(lut=24_100, bram_18k=41, uram=0, dsp=12),
    available=ZCU111,
    layers=tuple(
        LayerReport(name, lut=lut, bram_18k=bram, uram=0, dsp=dsp, cycles=cycles, pe=pe, simd=simd)
        for name, pe, simd, cycles, lut, bram, dsp in LAYERS
    ),
    agreements=(GraphAgreement("qonnx", 100, 100), GraphAgreement("folded", 100, 100)),
    not_executed="hardware code",
)
"""A report with each layer, as newer builds give it."""


def open_demo_database(folder: Path) -> Database:
    """The database where commands that run in `folder` look for it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return open_database(f"sqlite:///{folder}/runs/studies.db")


def make_demo_study(
    database: Database, name: str = "demo", n_trials: int = 40, goals: str = TWO_OBJECTIVES
) -> optuna.Study:
    """A study of `n_trials` trials: the last failed, the one before cannot be built, all others are complete."""
    config = parse_study_config(STUDY_FILE % (name, goals), "demo")
    study = open_study(config, database, {"git": "0123abc", "python": "3.11"})
    for _ in range(n_trials - 2):
        complete_trial(study, database)
    tell_unbuildable(study, study.ask(), "blocks[1].kernel_size is 27; expected at most the length there, 16")
    tell_failure(study, study.ask(), "ValueError", 'Traceback:\n  File "x.py"\nValueError: `a|b`')
    return study


def complete_trial(study: optuna.Study, database: Database, pruned_density: float = 0.35) -> int:
    """One more complete trial of two stages, its cost 0 where `pruned_density` is; returns its number."""
    record = load_study_record(database, study.study_name)
    assert record is not None
    config = parse_study_config(record.text, "demo")
    asked = ask_trial(study, config.search_space)
    assert asked is not None
    evaluations = tuple(_evaluations(study.study_name, asked.number, asked.design, pruned_density))
    for evaluation in evaluations:
        record_evaluation(database, evaluation)
    hardware = (_estimate(asked.design),) * len(evaluations) if config.asks_for_hardware else ()
    tell_measured(study, asked.trial, config, MeasuredTrial(asked.number, asked.design, evaluations, hardware))
    return asked.number


def queue_demo_build(database: Database, study_name: str, trial_number: int, stage: int = 1) -> None:
    """Promotes a trial, as it is after its last stage unless another is given."""
    queue_build(
        database,
        BuildRequest(
            study_name=study_name,
            trial_number=trial_number,
            stage=stage,
            model="model.onnx",
            reference_vectors="proof.npz",
            target=BuildTarget("ZCU111", 5.0, 100_000),
            timeout_s=1800,
            is_below_threshold=True,
            test_accuracy=0.4321,
        ),
    )


def finish_demo_build(
    database: Database,
    study_name: str,
    trial_number: int,
    report: BuildReport = BUILD_REPORT,
    level_note: str | None = None,
) -> None:
    """Promotes a trial and builds it, up to generated code."""
    build = _claim_demo_build(database, study_name, trial_number)
    finish_build(database, build.build_id, "demo", FinishedBuild(report, BuildLevel.CODEGEN, level_note=level_note))


def fail_demo_build(
    database: Database, study_name: str, trial_number: int, message: str, log_tail: str | None = None
) -> None:
    """Promotes a trial whose build fails."""
    build = _claim_demo_build(database, study_name, trial_number)
    fail_build(database, build.build_id, "demo", message, log_tail=log_tail)


def _claim_demo_build(database: Database, study_name: str, trial_number: int) -> Build:
    queue_demo_build(database, study_name, trial_number)
    build = claim_build(database, "demo", 60)
    assert build is not None
    return build


def _estimate(design: Design) -> HardwareEstimate:
    """Resources that grow with the bit operations, and a first layer that sets the pace."""
    cost = count_cost(design.architecture, {layer.name: 1.0 for layer in list_mac_layers(design.architecture)})
    lut = 2_500 + int(cost.bit_ops / 900)
    first = design.architecture.blocks[1].model_dump()
    cycles = 1024 // first["stride"] * first["kernel_size"] // 8
    return HardwareEstimate(
        lut=lut,
        bram_18k=4 + lut // 1_500,
        uram=0,
        dsp=lut // 700,
        throughput_fps=200e6 / cycles,
        latency_us=cycles / 100,
        bottleneck_layer="MVAU_hls_2",
        available=ZCU111,
    )


def _evaluations(study_name: str, trial_number: int, design: Design, pruned_density: float) -> Iterator[Evaluation]:
    layers = [layer.name for layer in list_mac_layers(design.architecture)]
    for stage, density in enumerate((1.0, pruned_density)):
        densities = dict.fromkeys(layers, density)
        cost = count_cost(design.architecture, densities)
        luck = (trial_number * 37 % 19) / 19
        accuracy = 0.60 - 0.12 / (1 + math.sqrt(40 * cost.inference_cost)) - 0.16 * luck - 0.01 * stage
        yield Evaluation(
            study_name=study_name,
            trial_number=trial_number,
            stage=stage,
            accuracy=accuracy,
            accuracy_by_snr={-10: 0.1, 10: 0.8},
            n_frames=2496,
            cost=cost,
            density=densities,
            epochs=6 + 2 * stage,
            seed=5,
            training_seconds=12.5,
            checkpoint=f"{study_name}/trials/{trial_number:05d}/stage{stage}.safetensors",
        )
