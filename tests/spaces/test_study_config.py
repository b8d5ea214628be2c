import functools
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from spaces.study_config import ConfigError, StudyConfig, load_study_config, parse_study_config, read_as_before

MINIMAL = """
study: {name: tiny, seed: 1}
space:
  blocks:
    - {type: conv, out_channels: {int: [4, 8]}, kernel_size: 3, weight_bit_width: 4, activation_bit_width: 4}
    - {type: linear, out_features: 24, weight_bit_width: 6}
budget: {trials: 3, epochs: 1}
"""


def parse(**parts: object) -> StudyConfig:
    tree = {**yaml.safe_load(MINIMAL), **parts}
    return parse_study_config(yaml.safe_dump(tree), "study.yaml")


def problems_of(**parts: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(**parts)
    return caught.value.problems


def test_minimal_study_has_the_documented_defaults() -> None:
    config = parse()
    assert config.study.sampler == "tpe"
    assert (config.objectives.accuracy.direction, config.objectives.accuracy.threshold) == ("maximize", 0.56)
    assert config.objectives.names == ("accuracy", "inference_cost")
    assert config.constraints.names == ()
    assert not config.asks_for_hardware
    assert (config.dataset.path, config.dataset.frames_per_cell, config.dataset.min_training_snr_db) == (None, None, -6)
    assert config.dataset.validation_fraction == 0.1
    assert config.dataset.twin.model_dump() == {"profile": "deepsig-2018", "frames_per_cell": 64, "seed": 2018}
    assert config.training.model_dump() == {
        "schedule": "hold",
        "batch_size": 64,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
    }
    assert config.pruning.stages == ()
    assert config.budget.wall_clock_minutes is None
    assert config.workers.model_dump() == {
        "cpus_per_trial": 1.0,
        "gpus_per_trial": 0.0,
        "max_concurrent": None,
        "max_attempts": 3,
    }
    assert config.promotion.top == 1
    assert config.fpga.model_dump() == {
        "board": "ZCU111",
        "clk_period_ns": 5.0,
        "target_fps": 100_000,
        "timeout_s": 1800,
        "output": "class",
        "estimate_processes": 2,
    }


def test_inference_cost_is_an_objective_where_no_other_is_named() -> None:
    assert parse(objectives={"accuracy": {"threshold": 0.3}}).objectives.names == ("accuracy", "inference_cost")
    assert parse(objectives={"inference_cost": {}}).objectives.names == ("accuracy", "inference_cost")
    assert parse(objectives={"lut": {}}).objectives.names == ("accuracy", "lut")
    named = {"inference_cost": {"direction": "minimize"}, "lut": {}, "throughput_fps": {"direction": "maximize"}}
    assert parse(objectives=named).objectives.names == ("accuracy", "lut", "throughput_fps", "inference_cost")


@pytest.mark.parametrize(
    ("parts", "asks"),
    [
        ({"objectives": {"latency_us": {}}}, True),
        ({"constraints": {"dsp": {"at_most": 100}}}, True),
        ({"objectives": {"inference_cost": {}}}, False),
        ({"constraints": {"inference_cost": {"at_most": 0.05}}}, False),
    ],
)
def test_hardware_is_asked_for_where_one_of_its_metrics_is_named(parts: dict[str, object], asks: bool) -> None:
    assert parse(**parts).asks_for_hardware is asks


def test_text_and_path_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(MINIMAL)
    config = load_study_config(path)
    assert (config.text, config.path) == (MINIMAL, path)


def test_config_never_changes() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().study.seed = 2


def test_search_space_takes_its_epochs_from_the_budget() -> None:
    design = parse(budget={"trials": 1, "epochs": 9}).search_space.suggest(optuna.create_study().ask())
    assert design.training.epochs == 9


def test_designs_have_the_frame_length_and_the_classes_of_the_study() -> None:
    scores = {"type": "linear", "out_features": 9, "weight_bit_width": 6}
    config = parse(space={"frame_length": 32, "n_classes": 9, "blocks": [scores]})
    architecture = config.search_space.suggest(optuna.create_study().ask()).architecture
    assert (architecture.frame_length, architecture.n_classes) == (32, 9)


def test_a_study_that_names_none_has_the_designs_it_always_had() -> None:
    scores = {"type": "linear", "out_features": 24, "weight_bit_width": 6}
    design = parse(space={"blocks": [scores]}).search_space.suggest(optuna.create_study().ask())
    assert design.architecture_id == "2b8425febeb9"
    assert read_as_before(parse(space={"blocks": [scores]}))[0].fingerprint == "c50167651ab04173"


def test_naming_what_is_the_default_is_the_same_study() -> None:
    space = {**yaml.safe_load(MINIMAL)["space"], "frame_length": 1024, "n_classes": 24}
    assert parse(space=space).fingerprint == parse().fingerprint


ABOVE_0 = "expected a number above 0"
AT_LEAST_1 = "expected a whole number of at least 1"
OBJECTIVES = "one of accuracy, lut, dsp, bram, throughput_fps, latency_us, inference_cost"
CONSTRAINTS = "one of accuracy, inference_cost, lut, dsp, bram, throughput_fps, latency_us"
PARTS = (
    "one of study, objectives, constraints, dataset, space, training, pruning, budget, early_stopping, warm_start, "
    "stages, workers, promotion, paper, fpga"
)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("buget", {}, f"is an unknown key; expected {PARTS} (did you mean budget?)"),
        ("notes", "x", f"is an unknown key; expected {PARTS}"),
        (
            "study",
            None,
            "is empty; expected a mapping with the keys name, seed, sampler, replicates, candidates, inherits",
        ),
        ("study.name", "a b", 'is "a b"; expected 1 to 64 letters, digits, _ . or -, a letter or digit first'),
        ("study.name", "../a", 'is "../a"; expected 1 to 64 letters, digits, _ . or -, a letter or digit first'),
        ("study.name", 7, "is 7; expected text"),
        ("study.seed", -1, "is -1; expected a whole number from 0 to 4294967295"),
        ("study.sampler", "cmaes", 'is "cmaes"; expected one of tpe, gp, nsga2, random, grid'),
        ("objectives.accuracy.threshold", 56, f"is 56; {ABOVE_0} and below 1"),
        ("objectives.accuracy.direction", "minimize", 'is "minimize"; expected maximize'),
        ("objectives.lut", None, "is empty; expected a mapping with the keys direction"),
        ("objectives.lut", 5, "is 5; expected a mapping with the keys direction"),
        ("objectives.lut.direction", "maximize", 'is "maximize"; expected minimize'),
        ("objectives.throughput_fps.direction", "minimize", 'is "minimize"; expected maximize'),
        ("objectives.lat_us", {}, f"is an unknown key; expected {OBJECTIVES} (did you mean latency_us?)"),
        ("constraints.lut", {"at_least": 5}, ".at_least is an unknown key; expected at_most"),
        ("constraints.throughput_fps", {"at_most": 5}, ".at_most is an unknown key; expected at_least"),
        ("constraints.accuracy.at_least", 1, "is 1; expected a number above 0 and below 1"),
        ("promotion.seeds", 0, "is 0; expected a whole number from 1 to 100"),
        ("promotion.rule", "best", 'is "best"; expected one of lower_bound, mean'),
        ("constraints.dsp", {}, ".at_most is missing; expected a number above 0"),
        ("constraints.dsp", None, "is empty; expected a mapping with the keys at_most"),
        ("constraints.latency_us.at_most", 0, f"is 0; {ABOVE_0}"),
        ("constraints.bram.at_most", "many", f'is "many"; {ABOVE_0}'),
        ("constraints.throughput_fps.at_least", float("inf"), "is inf; expected a finite number"),
        ("constraints.parameters", {"at_most": 5}, f"is an unknown key; expected {CONSTRAINTS}"),
        ("fpga.output", "classes", 'is "classes"; expected one of class, scores (did you mean class?)'),
        ("fpga.estimate_processes", 0, "is 0; expected a whole number from 1 to 256"),
        ("dataset.path", "", "is empty; expected the path of a file, or null to use the twin"),
        ("dataset.validation_fraction", 0.5, f"is 0.5; {ABOVE_0} and below 0.5"),
        ("dataset.min_training_snr_db", -21, "is -21; expected a whole number from -20 to 30"),
        ("dataset.twin.frames_per_cell", 4, "is 4; expected a whole number from 8 to 4096"),
        (
            "dataset.frames_per_cell",
            65,
            "is 65; expected at most dataset.twin.frames_per_cell, 64, for dataset.path is not set",
        ),
        ("space", {}, ".blocks is missing; expected a list"),
        ("space.blocks", [], "is empty; expected a list of at least one block"),
        ("space.frame_length", 0, "is 0; expected a whole number from 1 to 65536"),
        ("space.n_classes", 1, "is 1; expected a whole number from 2 to 1024"),
        (
            "dataset.twin.profile",
            "papers",
            'is "papers"; expected one of deepsig-2018, paper, rothe-9, matlab-11 (did you mean paper?)',
        ),
        (
            "training.learning_rate",
            {"float": [0, 0.1], "log": True},
            ".float[0] is 0; expected a number above 0, for log is true",
        ),
        ("training.batch_size", {"choices": [1, 2]}, "is {choices: [1, 2]}; expected a whole number from 1 to 65536"),
        ("pruning.stages", {"epsilon": 1}, "is {epsilon: 1}; expected a list of pruning stages, which may be empty"),
        ("pruning.stages", [7], "[0] is 7; expected a mapping with kind and its fields"),
        (
            "pruning.stages",
            [{"epsilon": -1, "weight_decay": 0, "epochs": 1}],
            "[0].epsilon is -1; expected a number from 0 to 10",
        ),
        (
            "pruning.stages",
            [{"weight_decay": 0, "epochs": 1}],
            "[0].epsilon is missing; expected a number from 0 to 10",
        ),
        (
            "pruning.stages",
            [{"kind": "magnitud", "fraction": 0.2, "epochs": 1}],
            '[0].kind is "magnitud"; expected one of threshold, magnitude, cost_aware, structured '
            "(did you mean magnitude?)",
        ),
        (
            "pruning.stages",
            [{"kind": "magnitude", "epochs": 1}],
            "[0].fraction is empty with inference_cost empty; expected one of both, and the other left out",
        ),
        (
            "pruning.stages",
            [{"kind": "magnitude", "inference_cost": 0.01, "scope": "layer", "epochs": 1}],
            "[0].scope is layer with inference_cost; expected network, or a fraction",
        ),
        (
            "pruning.stages",
            [{"kind": "magnitude", "fraction": 0.2, "ramp": "gradual", "epochs": 1}],
            "[0].ramp is gradual with fraction; expected one_shot, or an inference_cost",
        ),
        (
            "pruning.stages",
            [{"kind": "cost_aware", "inference_cost": cost, "epochs": 1} for cost in (0.01, 0.02)],
            "[1].inference_cost is 0.02; expected below the stage before, 0.01",
        ),
        (
            "pruning.stages",
            [{"kind": "structured", "fraction": 1.0, "epochs": 1}],
            "[0].fraction is 1.0; expected a number above 0 and below 1",
        ),
        ("training", {"restart_epochs": None}, ".restart_epochs is empty; expected a whole number of at least 1"),
        (
            "training.schedule",
            "restart",
            'is "restart"; expected one of hold, restarts, plateau (did you mean restarts?)',
        ),
        ("budget.trials", 0, f"is 0; {AT_LEAST_1}"),
        ("budget.wall_clock_minutes", 0, f"is 0; {ABOVE_0}, or empty"),
        ("workers.cpus_per_trial", 0, f"is 0; {ABOVE_0}"),
        ("workers.max_concurrent", 0, f"is 0; {AT_LEAST_1}, or empty"),
        ("promotion.top", -1, "is -1; expected a whole number of at least 0"),
        ("fpga.clk_period_ns", float("inf"), "is inf; expected a finite number"),
        ("fpga.target_fps", 1e5, "is 100000.0; expected a whole number from 1 to 1000000000"),
    ],
)
def test_wrong_value_says_where_what_and_what_is_allowed(path: str, value: object, problem: str) -> None:
    tree: dict[str, Any] = yaml.safe_load(MINIMAL)
    *parents, key = path.split(".")
    functools.reduce(lambda part, name: part.setdefault(name, {}), parents, tree)[key] = value
    separator = "" if problem.startswith((".", "[")) else " "
    assert problems_of(**tree) == (f"{path}{separator}{problem}",)


def test_misspelt_board_gets_a_guess() -> None:
    (problem,) = problems_of(fpga={"board": "zcu-111"})
    assert problem.startswith('fpga.board is "zcu-111"; expected one of Ultra96, ')
    assert problem.endswith("(did you mean ZCU111?)")


def test_more_frames_than_the_twin_has_are_fine_with_a_real_file() -> None:
    config = parse(dataset={"path": "/data/radioml.hdf5", "frames_per_cell": 512})
    assert config.dataset.frames_per_cell == 512


def test_all_problems_are_reported_at_once_one_per_line() -> None:
    space = {
        "blocks": [
            {
                "type": "depthwise_separable",
                "out_channels": 8,
                "kernel_size": {"choices": [3, 4]},
                "stride": {"choices": []},
                "weight_bit_width": 0,
                "activation_bit_width": 33,
            }
        ]
    }
    with pytest.raises(ConfigError) as caught:
        parse(space=space, budget={"trials": 3, "epoch": 1}, fpga={"board": "ZCU999X"})
    assert str(caught.value).splitlines() == list(caught.value.problems)
    assert [problem.split(" is ")[0] for problem in caught.value.problems] == [
        "space.blocks[0].kernel_size.choices[1]",
        "space.blocks[0].stride.choices",
        "space.blocks[0].weight_bit_width",
        "space.blocks[0].activation_bit_width",
        "budget.epoch",
        "fpga.board",
    ]


def test_stride_product_beyond_the_frame_is_reported_with_the_other_problems() -> None:
    pool = {"type": "max_pool", "kernel_size": 64}
    problems = problems_of(space={"blocks": [pool, pool]}, promotion={"top": -1})
    assert problems == (
        "space.blocks is a list whose strides have a product of at least 4096; expected at most the frame length, 1024",
        "promotion.top is -1; expected a whole number of at least 0",
    )


def test_strides_and_scores_are_held_against_the_frames_and_classes_of_the_study() -> None:
    pool = {"type": "max_pool", "kernel_size": 64}
    (problem,) = problems_of(space={"blocks": [pool], "frame_length": 32})
    assert problem.endswith("a product of at least 64; expected at most the frame length, 32")
    (problem,) = problems_of(space={**yaml.safe_load(MINIMAL)["space"], "n_classes": 9})
    assert problem.endswith("is linear with 24 features; expected linear with one feature per class, 9")


def test_missing_file_is_one_clear_problem(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml is missing; expected a study file such as spaces/dsc4\.yaml$"
    ):
        load_study_config(tmp_path / "nowhere.yaml")


def test_folder_is_one_clear_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; expected a study file"):
        load_study_config(tmp_path)


def test_binary_file_is_one_clear_problem(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_bytes(b"\x89HDF\r\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"weights\.yaml is not text .*; expected YAML in UTF-8"):
        load_study_config(path)


def test_yaml_that_does_not_parse_has_file_line_and_column() -> None:
    with pytest.raises(ConfigError, match=r"^bad\.yaml, line 2, column 1: while parsing a flow mapping, expected"):
        parse_study_config("study: {name: a\n", "bad.yaml")


def test_keys_given_twice_are_problems() -> None:
    with pytest.raises(ConfigError, match="line 9, column 1: the key budget is given twice, first on line 7"):
        parse_study_config(MINIMAL + "\nbudget: {}\n", "study.yaml")


def test_fingerprint_is_the_same_for_the_same_content() -> None:
    with_comment = parse_study_config(f"# Another look at the same.\n{MINIMAL}", "study.yaml")
    with_defaults = parse(dataset={"min_training_snr_db": -6}, training={"weight_decay": 0})
    assert with_comment.fingerprint == parse().fingerprint == with_defaults.fingerprint


@pytest.mark.parametrize(
    "parts",
    [
        {"budget": {"trials": 500, "epochs": 1, "wall_clock_minutes": 5}},
        {"workers": {"cpus_per_trial": 4}},
        {"promotion": {"top": 5}},
        {"fpga": {"board": "VCK190"}},
        {"study": {"name": "other", "seed": 1}},
    ],
)
def test_fingerprint_does_not_change_with_what_has_no_effect_on_trials(parts: dict[str, object]) -> None:
    assert parse(**parts).fingerprint == parse().fingerprint


@pytest.mark.parametrize(
    "parts",
    [
        {"budget": {"trials": 3, "epochs": 2}},
        {"study": {"name": "tiny", "seed": 2}},
        {"study": {"name": "tiny", "seed": 1, "sampler": "random"}},
        {"dataset": {"min_training_snr_db": 0}},
        {"dataset": {"twin": {"frames_per_cell": 65}}},
        {"dataset": {"twin": {"profile": "paper"}}},
        {"training": {"learning_rate": {"float": [0.01, 0.02]}}},
        {"pruning": {"stages": [{"epsilon": 0.1, "weight_decay": 0, "epochs": 0}]}},
        {"objectives": {"accuracy": {"threshold": 0.5}}},
        {"space": {"blocks": [{"type": "linear", "out_features": 24, "weight_bit_width": 6}]}},
    ],
)
def test_fingerprint_changes_with_what_has_an_effect_on_trials(parts: dict[str, object]) -> None:
    assert parse(**parts).fingerprint != parse().fingerprint


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("dsc4", "6c78d2ad065f7d36"),
        ("matlab11", "eacc4bcbb2092465"),
        ("rothe9", "5eca50f4cb049736"),
        ("smoke", "89f8477ccc6b147d"),
        ("vgg10", "3447d521f3241797"),
        ("vgg10_baseline", "4b2eb6a618f01b9e"),
    ],
)
def test_studies_of_before_hardware_objectives_keep_their_fingerprint(name: str, fingerprint: str) -> None:
    """Of the files of 2026-11-20, dsc4 of 2026-11-30; one that changes on purpose changes here too."""
    config = load_study_config(Path(__file__).parents[2] / f"spaces/{name}.yaml")
    assert read_as_before(config)[0].fingerprint == fingerprint


LUT: dict[str, object] = {"objectives": {"lut": {}}}


@pytest.mark.parametrize(
    "parts",
    [
        {"objectives": {"dsp": {}}},
        {"objectives": {"lut": {}, "inference_cost": {}}},
        {**LUT, "constraints": {"lut": {"at_most": 5}}},
        {**LUT, "constraints": {"inference_cost": {"at_most": 5}}},
        {**LUT, "fpga": {"board": "ZCU104"}},
        {**LUT, "fpga": {"clk_period_ns": 4.0}},
        {**LUT, "fpga": {"target_fps": 1}},
        {**LUT, "fpga": {"output": "scores"}},
    ],
)
def test_fingerprint_of_a_study_that_asks_for_hardware_changes_with_bounds_and_target(parts: dict[str, object]) -> None:
    assert parse(**parts).fingerprint != parse(**LUT).fingerprint


def test_fingerprint_does_not_change_with_how_estimates_are_made() -> None:
    asked = {**LUT, "fpga": {"timeout_s": 5, "estimate_processes": 7}}
    assert parse(**asked).fingerprint == parse(**LUT).fingerprint


def test_target_has_no_effect_on_a_study_without_hardware_metrics() -> None:
    assert parse(fpga={"target_fps": 1, "output": "scores"}).fingerprint == parse().fingerprint
