"""The Markdown of a trial's note."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dashboards.trial_note import TrialFacts, code_block, trial_note
from search.measured_trials import MeasuredTrial
from search.objectives import Constraint, Objective
from spaces.architecture import ArchitectureConfig
from spaces.blocks import DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from spaces.metrics import ACCURACY, DSP, INFERENCE_COST, LUT, THROUGHPUT
from spaces.pruning_stages import ThresholdStage
from spaces.search_space import Design, TrainingSettings
from storage.hardware_reports import HardwareEstimate
from storage.records import Build, BuildLevel, BuildState, BuildTarget, Cost, Evaluation
from tests.dashboards.demo_study import BUILD_REPORT, DETAILED_BUILD_REPORT, ZCU111
from tests.dashboards.markdown_tables import table_rows

BLOCK = DepthwiseSeparable(out_channels=24, kernel_size=27, stride=2, weight_bit_width=6, activation_bit_width=5)
LINEAR = Linear(out_features=24, weight_bit_width=8)
DESIGN = Design(
    architecture=ArchitectureConfig(
        blocks=(InputQuantizer(), BLOCK, BLOCK.model_copy(update={"stride": 1}), GlobalPool(), LINEAR)
    ),
    training=TrainingSettings(epochs=6),
    stages=(ThresholdStage(epsilon=0.15, weight_decay=5e-5, epochs=2),),
)
COST = Cost(bit_ops=19_242_864, weight_bits=10_704, inference_cost=0.016211, parameters=6_000)
TRAINED = Evaluation(
    study_name="demo",
    trial_number=7,
    stage=0,
    accuracy=0.5706,
    accuracy_by_snr={10: 0.9},
    n_frames=2496,
    cost=replace(COST, inference_cost=0.0781),
    density={"blocks.1.depthwise": 1.0, "blocks.4.linear": 0.98},
    epochs=6,
    seed=1,
    training_seconds=3.0,
    checkpoint="a",
)
PRUNED_DENSITY = {"blocks.1.depthwise": 0.25, "blocks.4.linear": 0.5}
PRUNED = replace(TRAINED, stage=1, accuracy=0.56241, cost=COST, density=PRUNED_DENSITY)
BUILD = Build(
    build_id=3,
    study_name="demo",
    trial_number=7,
    stage=1,
    model="m.onnx",
    reference_vectors="p.npz",
    target=BuildTarget("ZCU111", 5.0, 100_000),
    timeout_s=1800,
    is_below_threshold=False,
    test_accuracy=0.5617,
    state=BuildState.SUCCEEDED,
    attempt=1,
    owner=None,
    message=None,
    report=BUILD_REPORT,
    queued_at=datetime(2026, 1, 1, tzinfo=UTC),
    finished_at=datetime(2026, 1, 2, tzinfo=UTC),
)
RESULT = MeasuredTrial(7, DESIGN, (TRAINED, PRUNED))
OBJECTIVES = (Objective(ACCURACY, 0.0), Objective(INFERENCE_COST, 1.0))
FACTS = TrialFacts(
    is_stopped=False,
    study_name="demo",
    trial_number=7,
    state="complete",
    design=DESIGN,
    result=RESULT,
    evaluations=(TRAINED, PRUNED),
    builds=(BUILD,),
    front_stages=(1,),
    copied_from=None,
    message=None,
    objectives=OBJECTIVES,
    constraints=(),
)
UNMEASURED = replace(FACTS, trial_number=8, design=None, result=None, evaluations=(), builds=(), front_stages=())

ESTIMATE = HardwareEstimate(
    lut=25_560, bram_18k=27, uram=0, dsp=12, throughput_fps=85_123.4, latency_us=61.3,
    bottleneck_layer="MVAU_rtl_1", available=ZCU111,
)  # fmt: skip
HARDWARE_FACTS = replace(
    FACTS,
    result=replace(RESULT, hardware=(ESTIMATE,) * len(RESULT.evaluations)),
    builds=(),
    front_stages=(),
    objectives=(Objective(ACCURACY, 0.0), Objective(LUT, None)),
    constraints=(Constraint(THROUGHPUT, at_least=100_000), Constraint(DSP, at_most=12)),
)


def test_note_has_accuracy_cost_and_place() -> None:
    note = trial_note(FACTS)
    assert "accuracy **56.24%**, inference cost η **0.016211** after stage 1, on the Pareto front with stage 1." in note
    both = trial_note(replace(FACTS, front_stages=(0, 1)))
    assert "after stage 1, on the Pareto front with stages 0 and 1." in both
    assert "after stage 1, not on the Pareto front." in trial_note(replace(FACTS, front_stages=()))


def test_note_links_to_the_trials_page_where_it_has_a_network() -> None:
    assert "[The page of this trial](/pages/studies/demo/trials/7)" in trial_note(FACTS)
    bare = replace(FACTS, result=None, evaluations=(), builds=(), front_stages=(), state="fail")
    assert "/pages/" not in trial_note(bare)


def test_note_of_a_trial_of_one_stage_speaks_of_no_stage() -> None:
    one = replace(FACTS, evaluations=(TRAINED,), result=replace(RESULT, evaluations=(TRAINED,)), front_stages=(0,))
    note = trial_note(one)
    assert "accuracy **57.06%**, inference cost η **0.078100**, on the Pareto front." in note
    assert "### Build 3: ZCU111" in note
    assert "To send this network to FINN again: `python -m search.promote demo 7`" in note


def test_note_tells_of_which_stage_a_build_is_and_how_to_promote_one() -> None:
    note = trial_note(FACTS)
    assert "### Build 3 of stage 1: ZCU111" in note
    assert "To send its network after stage 1 to FINN again: `python -m search.promote demo 7 --stage 1`" in note


def test_note_lists_each_block_with_its_sizes_and_bits() -> None:
    rows = table_rows(trial_note(FACTS))

    assert ["input_quantizer", "", "", "", "", "8", "2 × 1024"] in rows
    assert ["depthwise_separable", "27", "2", "24", "6", "5", "24 × 512"] in rows
    assert ["depthwise_separable (residual)", "27", "1", "24", "6", "5", "24 × 512"] in rows
    assert ["linear", "", "", "24", "8", "", "24 × 1"] in rows


def test_note_has_one_row_per_pruning_stage() -> None:
    rows = table_rows(trial_note(FACTS))

    assert ["0, training", "", "0", "6", "57.06%", "0.078100", "19,242,864", "10,704", "99.0%"] in rows
    assert ["1, pruning", "ε 0.15", "5e-05", "6", "56.24%", "0.016211", "19,242,864", "10,704", "37.5%"] in rows


def test_note_has_the_density_of_each_layer_per_stage() -> None:
    rows = table_rows(trial_note(FACTS))

    assert ["`blocks.1.depthwise`", "100.0%", "25.0%"] in rows
    assert ["`blocks.4.linear`", "98.0%", "50.0%"] in rows


def test_note_has_the_numbers_of_the_build() -> None:
    note = trial_note(FACTS)

    assert "### Build 3 of stage 1: ZCU111, succeeded" in note
    assert "Accuracy on the test part: **56.17%**." in note
    assert "Below the accuracy threshold" not in note
    assert ["hardware", "build 3, layers only"] in table_rows(note)
    assert ["LUT", "18,432"] in table_rows(note)
    assert ["BRAM18", "27"] in table_rows(note)
    assert ["DSP", "12"] in table_rows(note)
    assert ["throughput", "101,562 frames/s"] in table_rows(note)
    assert ["latency", "61.3 µs"] in table_rows(note)
    assert "Verified: FINN's graph gave the class of the trained network on 100 of 100 frames." in note


def test_note_of_a_build_has_both_totals_with_their_share_of_the_board() -> None:
    rows = table_rows(trial_note(replace(FACTS, builds=(replace(BUILD, report=DETAILED_BUILD_REPORT),))))

    assert ["hardware", "build 3, layers only", "build 3, with FIFOs and width converters"] in rows
    assert ["LUT", "18,432", "24,100 (5.7%)"] in rows
    assert ["BRAM18", "27", "41 (1.9%)"] in rows
    assert ["URAM", "0", "0"] in rows
    assert ["bottleneck layer", "", "MVAU_hls_2, 2,048 cycles"] in rows


def test_note_of_a_build_has_each_layer_and_marks_the_bottleneck() -> None:
    note = trial_note(replace(FACTS, builds=(replace(BUILD, report=DETAILED_BUILD_REPORT),)))

    rows = table_rows(note)
    assert ["layer", "PE", "SIMD", "cycles", "LUT", "BRAM18", "URAM", "DSP"] in rows
    assert ["VVAU_hls_0", "2", "9", "1,536", "2,210", "3", "0", "0"] in rows
    assert ["**MVAU_hls_2 (bottleneck)**", "12", "4", "2,048", "9,640", "12", "0", "8"] in rows
    assert ["layers only", "", "", "", "18,432", "27", "0", "12"] in rows
    assert note.count("(bottleneck)") == 1
    assert "- Frames with all integer scores equal: qonnx 100, folded 100.\n- Not executed: hardware code." in note


def test_note_of_a_build_says_how_far_it_got_why_no_further_and_what_it_waits_for() -> None:
    stopped = replace(BUILD, level=BuildLevel.CODEGEN, level_note="no `vivado` here.", next_level=None)
    waiting = replace(BUILD, level=BuildLevel.ESTIMATE, next_level=BuildLevel.CODEGEN)

    note = trial_note(replace(FACTS, builds=(stopped, waiting)))

    assert "- Reached level 2 of 5, codegen: generated hardware code.\n- No further: no \\`vivado\\` here.\n" in note
    assert "- Reached level 1 of 5, estimate: FINN's estimates.\n- Waits for codegen: generated hardware code." in note


def test_note_has_the_estimate_of_a_trial_without_a_build() -> None:
    rows = table_rows(trial_note(HARDWARE_FACTS))

    assert ["hardware", "estimate"] in rows
    assert ["LUT", "25,560 (6.0%)"] in rows
    assert ["throughput", "85,123 frames/s"] in rows
    assert ["latency", "61.3 µs"] in rows
    assert ["bottleneck layer", "MVAU_rtl_1"] in rows


def test_note_has_the_build_of_the_trained_network_beside_the_estimate() -> None:
    rows = table_rows(trial_note(replace(HARDWARE_FACTS, builds=(BUILD,))))

    assert ["hardware", "estimate", "build 3, layers only"] in rows
    assert ["LUT", "25,560 (6.0%)", "18,432"] in rows


def test_note_names_the_objectives_of_its_study() -> None:
    assert "**Trial 7**: accuracy **56.24%**, LUT **25,560** after stage 1, **infeasible**." in trial_note(
        HARDWARE_FACTS
    )


def test_note_has_each_constraint_and_whether_it_holds() -> None:
    rows = table_rows(trial_note(HARDWARE_FACTS))

    assert ["throughput", "at least 100,000 frames/s", "85,123 frames/s", "**no**"] in rows
    assert ["DSP", "at most 12", "12", "yes"] in rows


def test_note_of_a_build_that_failed_has_its_reason_and_no_numbers() -> None:
    failed = replace(BUILD, state=BuildState.FAILED, report=None, message="step_x | <b>no</b>", is_below_threshold=True)
    failed = replace(failed, log_tail="Error in ```x```\nexit 1")

    note = trial_note(replace(FACTS, builds=(failed,)))

    assert "### Build 3 of stage 1: ZCU111, failed" in note
    assert "```\nstep_x | <b>no</b>\n```" in note
    assert "The last lines of its log:\n\n````\nError in ```x```\nexit 1\n````" in note
    assert "**Below the accuracy threshold**" in note
    assert "LUT" not in note


def test_note_says_how_to_promote() -> None:
    assert "To send its network after stage 1 to FINN: `python -m search.promote demo 7 --stage 1`" in trial_note(
        replace(FACTS, builds=())
    )


def test_trial_that_was_stopped_early_is_not_called_unbuildable() -> None:
    reason = (
        "30.00% at inference cost 0.01000 after 2 epochs is not among the best 50% of the 9 trials that came so far"
    )
    before_a_stage = replace(UNMEASURED, state="pruned", is_stopped=True, message=reason)
    note = trial_note(before_a_stage)
    assert note.startswith("**Trial 8**: stopped early.")
    assert reason in note
    result = replace(RESULT, evaluations=(TRAINED,), is_stopped=True)
    later = replace(FACTS, state="pruned", is_stopped=True, message=reason, result=result, evaluations=(TRAINED,))
    headline = trial_note(later).splitlines()[0]
    assert "after stage 0" in headline
    assert headline.endswith("then stopped early.")


@pytest.mark.parametrize(("state", "words"), [("fail", "failed"), ("pruned", "cannot be built")])
def test_note_of_a_trial_without_result_has_the_reason_and_no_promotion(state: str, words: str) -> None:
    note = trial_note(replace(UNMEASURED, state=state, message="ValueError: no\n"))

    assert note == f"**Trial 8**: {words}.\n\n```\nValueError: no\n```"


def test_note_of_a_network_that_was_measured_before_names_the_trial() -> None:
    assert "Copied from trial 3, the same network." in trial_note(replace(FACTS, copied_from=3))


def test_code_block_holds_fences_of_the_text() -> None:
    assert code_block("a\n```\nb") == "````\na\n```\nb\n````"


def test_unequal_classes_are_said_plainly() -> None:
    note = trial_note(replace(FACTS, builds=(replace(BUILD, report=replace(BUILD_REPORT, n_classes_equal=97)),)))

    assert "- **Verification failed: FINN's graph gave the class of the trained network on 97 of 100 frames.**" in note


def test_unverified_builds_are_not_called_verified() -> None:
    report = replace(BUILD_REPORT, n_classes_equal=0, n_frames_verified=0)

    note = trial_note(replace(FACTS, builds=(replace(BUILD, report=report),)))

    assert "- Not verified: no frames were run through FINN's graph." in note
