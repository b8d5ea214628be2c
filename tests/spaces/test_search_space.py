import optuna
import pytest
from optuna.trial import FixedTrial
from pydantic import ValidationError

from spaces.architecture import ArchitectureError
from spaces.block_space import find_smallest_stride_product, parse_blocks
from spaces.blocks import Conv, DepthwiseSeparable, Linear, Parallel, list_layer_bits
from spaces.grid import find_grid_problem, list_combinations
from spaces.problems import InvalidValueError
from spaces.pruning_stages import ThresholdStage
from spaces.quantization_defaults import DEFAULT_BIT_WIDTHS
from spaces.search_space import Design, PruningPart, SearchSpace, SpacePart, TrainingPart

LINEAR: dict[str, object] = {"type": "linear", "out_features": 24, "weight_bit_width": 6}


def conv(**fields: object) -> dict[str, object]:
    fixed = {"type": "conv", "out_channels": 8, "kernel_size": 3, "weight_bit_width": 4, "activation_bit_width": 4}
    return {**fixed, **fields}


def space_of(*blocks: object) -> SearchSpace:
    return SearchSpace(
        SpacePart.model_validate({"blocks": list(blocks)}), TrainingPart.model_validate({}), PruningPart(), epochs=2
    )


def problems_of(*blocks: object) -> list[str]:
    with pytest.raises(InvalidValueError) as caught:
        parse_blocks(list(blocks))
    return [str(problem.under(("blocks",))) for problem in caught.value.problems]


def load_problem_of(*blocks: object) -> str:
    with pytest.raises(ValueError, match=r"draws|product") as caught:
        SpacePart.model_validate({"blocks": list(blocks)})
    return str(caught.value)


def ask(**fixed: object) -> optuna.Trial:
    study = optuna.create_study()
    study.enqueue_trial(fixed)
    return study.ask()


def test_fixed_space_gives_one_design_and_draws_nothing() -> None:
    trial = optuna.create_study().ask()
    design = space_of(conv(), LINEAR).suggest(trial)
    assert design.architecture.blocks == (
        Conv(out_channels=8, kernel_size=3, weight_bit_width=4, activation_bit_width=4),
        Linear(out_features=24, weight_bit_width=6),
    )
    assert trial.params == {}


def test_values_are_drawn_under_their_path_in_the_file() -> None:
    trial = optuna.create_study().ask()
    kernel_size = {"int": [7, 33], "step": 2}
    space_of(conv(kernel_size=kernel_size, stride={"choices": [1, 2]}), LINEAR).suggest(trial)
    assert set(trial.params) == {"space.blocks[0].kernel_size", "space.blocks[0].stride"}


def test_each_repetition_draws_its_own_values() -> None:
    trial = ask(
        **{
            "space.blocks[0].repeat": 2,
            "space.blocks[0].times[0].blocks[0].out_channels": 8,
            "space.blocks[0].times[1].blocks[0].out_channels": 16,
        }
    )
    repeated = {"repeat": {"int": [1, 4]}, "blocks": [conv(out_channels={"choices": [8, 16]})]}
    design = space_of(repeated, LINEAR).suggest(trial)
    assert [b.out_channels for b in design.architecture.blocks if isinstance(b, Conv)] == [8, 16]


def test_group_repeated_zero_times_is_left_out() -> None:
    design = space_of({"repeat": 0, "blocks": [conv()]}, LINEAR).suggest(optuna.create_study().ask())
    assert [block.type for block in design.architecture.blocks] == ["linear"]


def test_groups_repeat_inside_groups() -> None:
    inner = {"repeat": 2, "blocks": [conv(stride={"choices": [2, 2**2]})]}
    trial = optuna.create_study().ask()
    design = space_of({"repeat": 2, "blocks": [inner]}, LINEAR).suggest(trial)
    assert len(design.architecture.blocks) == 5
    assert "space.blocks[0].times[1].blocks[0].times[1].blocks[0].stride" in trial.params


def test_field_left_out_has_the_default_of_its_block() -> None:
    block = conv() | {"type": "depthwise_separable"}
    design = space_of(block, LINEAR).suggest(optuna.create_study().ask())
    assert isinstance(design.architecture.blocks[0], DepthwiseSeparable)
    assert (design.architecture.blocks[0].stride, design.architecture.blocks[0].residual) == (1, None)


def test_training_and_pruning_are_drawn_too() -> None:
    training = TrainingPart.model_validate({"learning_rate": {"float": [1e-3, 1e-1], "log": True}, "batch_size": 32})
    stage = {"epsilon": {"float": [0.1, 0.2]}, "weight_decay": {"choices": [0, 1e-5]}, "epochs": 3}
    pruning = PruningPart.model_validate({"stages": [stage, {**stage, "epsilon": 0.25}]})
    trial = optuna.create_study().ask()
    space = SearchSpace(SpacePart.model_validate({"blocks": [LINEAR]}), training, pruning, epochs=7)
    design = space.suggest(trial)
    assert (design.training.epochs, design.training.batch_size) == (7, 32)
    assert design.training.learning_rate == trial.params["training.learning_rate"]
    assert isinstance(design.stages[0], ThresholdStage)
    assert isinstance(design.stages[1], ThresholdStage)
    assert design.stages[0].epsilon == trial.params["pruning.stages[0].epsilon"]
    assert design.stages[1].epsilon == 0.25
    assert design.stages[1].weight_decay == trial.params["pruning.stages[1].weight_decay"]
    assert [stage.epochs for stage in design.stages] == [3, 3]


BITS = {"weights": 5, "depthwise_weights": {"int": [6, 8]}, "linear_weights": 3, "activations": {"choices": [4, 6]}}


def test_blocks_have_the_bit_widths_of_the_space_where_they_give_none() -> None:
    separable = {"type": "depthwise_separable", "out_channels": 8, "kernel_size": 3}
    blocks = [
        {"type": "conv", "out_channels": 8, "kernel_size": 3},
        {"repeat": 2, "blocks": [separable]},
        {**separable, "weight_bit_width": 7, "activation_bit_width": 2},
        {"type": "linear", "out_features": 24},
    ]
    space = SpacePart.model_validate({"blocks": blocks, "quantization": BITS})
    trial = optuna.create_study().ask()
    design = SearchSpace(space, TrainingPart.model_validate({}), PruningPart(), epochs=1).suggest(trial)
    first, second, third, own, last = (list_layer_bits(block) for block in design.architecture.blocks)
    drawn = trial.params
    assert first["conv"] == (5, drawn["space.blocks[0].activation_bit_width"])
    for time, bits in enumerate((second, third)):
        place = f"space.blocks[1].times[{time}].blocks[0]"
        assert bits["depthwise"].weight == drawn[f"{place}.depthwise_weight_bit_width"]
        assert bits["pointwise"] == (5, drawn[f"{place}.activation_bit_width"])
    assert own["depthwise"] == own["pointwise"] == (7, 2)
    assert last["linear"].weight == 3


def test_bit_widths_that_nobody_gives_are_the_defaults() -> None:
    space = SpacePart.model_validate({"blocks": [{"type": "linear", "out_features": 24}]})
    design = SearchSpace(space, TrainingPart.model_validate({}), PruningPart(), epochs=1)
    last = design.suggest(optuna.create_study().ask()).architecture.blocks[-1]
    assert isinstance(last, Linear)
    assert last.weight_bit_width == DEFAULT_BIT_WIDTHS["linear_weights"]


def test_wrong_default_is_told_where_it_stands_alone() -> None:
    given = {"blocks": [conv(), LINEAR], "quantization": {"weights": 9}}
    with pytest.raises(ValidationError) as caught:
        SpacePart.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [("quantization", "weights")]


def test_same_seed_suggests_the_same_designs() -> None:
    space = space_of(conv(out_channels={"int": [1, 4096]}), LINEAR)
    studies = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)) for _ in range(2)]
    assert space.suggest(studies[0].ask()) == space.suggest(studies[1].ask())


def test_design_survives_json() -> None:
    design = space_of(conv(), LINEAR).suggest(optuna.create_study().ask())
    assert Design.model_validate_json(design.model_dump_json()) == design


def test_design_has_the_id_of_its_network() -> None:
    design = space_of(conv(), LINEAR).suggest(optuna.create_study().ask())
    assert design.architecture_id == design.architecture.architecture_id


def test_blocks_that_do_not_fit_raise_with_their_path_in_the_file() -> None:
    repeated = {"repeat": 2, "blocks": [conv(stride={"choices": [1, 16]})]}
    space = space_of(repeated, conv(kernel_size=9), LINEAR)
    trial = ask(
        **{
            "space.blocks[0].times[0].blocks[0].stride": 16,
            "space.blocks[0].times[1].blocks[0].stride": 16,
        }
    )
    with pytest.raises(
        ArchitectureError, match=r"^space\.blocks\[1\]\.kernel_size is 9; expected at most 7, for the length there is 4"
    ):
        space.suggest(trial)


def test_stride_product_beyond_the_frame_raises_for_that_suggestion_alone() -> None:
    space = space_of({"repeat": 3, "blocks": [conv(kernel_size=1, stride={"choices": [1, 16]})]}, LINEAR)
    trial = ask(**{f"space.blocks[0].times[{time}].blocks[0].stride": 16 for time in range(3)})
    with pytest.raises(ArchitectureError, match="the product of all strides is 4096; expected at most"):
        space.suggest(trial)


def test_smallest_stride_product_counts_strides_pools_and_repetitions() -> None:
    pool = {"type": "max_pool", "kernel_size": {"choices": [4, 2]}}
    repeated = {"repeat": {"int": [3, 5]}, "blocks": [conv(stride={"int": [2, 4]}), pool]}
    assert find_smallest_stride_product(parse_blocks([repeated, conv(), LINEAR])) == 4**3


def test_smallest_stride_product_beyond_the_frame_is_an_error_at_load() -> None:
    problem = load_problem_of({"repeat": {"int": [3, 4]}, "blocks": [conv(kernel_size=1, stride=16)]}, LINEAR)
    assert (
        "blocks is a list whose strides have a product of at least 4096; expected at most the frame length, 1024"
        in problem
    )


def test_space_without_any_network_is_an_error_at_load_with_the_reason() -> None:
    problem = load_problem_of(conv(), {**LINEAR, "out_features": {"int": [1, 11]}})
    assert "blocks is a list that gave no network in 201 draws; expected blocks that can fit together" in problem
    assert "the most frequent problem: space.blocks[1], the last, is linear with 1 features; expected" in problem


def test_space_with_few_networks_is_accepted() -> None:
    pool = {"type": "max_pool", "kernel_size": {"int": [2, 1024]}}
    assert space_of(pool, LINEAR).space.blocks


def test_all_problems_of_all_blocks_are_reported_at_once() -> None:
    problems = problems_of(
        {**conv(weight_bit_width=0, kernel_size={"choices": [3, 4]}), "type": "depthwise_separable"},
        {"type": "dephtwise_separable"},
        {"repeat": {"int": [1, 99]}, "blocks": [conv(stride={"choices": []})]},
    )
    assert problems == [
        "blocks[0].kernel_size.choices[1] is 4; expected an odd kernel size "
        "(padding is kernel_size // 2 on both sides)",
        "blocks[0].weight_bit_width is 0; expected 2 to 8 bits, or 32 for float",
        'blocks[1].type is "dephtwise_separable"; expected one of input_quantizer, hard_tanh, conv, '
        "depthwise_separable, inverted_residual, max_pool, global_pool, linear, parallel "
        "(did you mean depthwise_separable?)",
        "blocks[2].repeat is {int: [1, 99]}, which can give 65; expected a whole number from 0 to 64",
        "blocks[2].blocks[0].stride.choices is empty; expected at least one value",
    ]


TYPES = (
    "one of input_quantizer, hard_tanh, conv, depthwise_separable, inverted_residual, max_pool, global_pool, linear, "
    "parallel"
)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"type": "max_pool"}, ".kernel_size is missing; expected a whole number from 2 to 1024"),
        (
            {"type": "max_pool", "kernel_sise": 2},
            ".kernel_sise is an unknown key; expected one of type, kernel_size (did you mean kernel_size?)",
        ),
        ({"tpye": "conv"}, ".tpye is an unknown key; expected one of type, repeat, one_of (did you mean type?)"),
        ({"out_channels": 3}, f".type is missing; expected {TYPES}"),
        ({"type": "cnov"}, f'.type is "cnov"; expected {TYPES} (did you mean conv?)'),
        ({"repeat": 2}, ".blocks is missing; expected a list of at least one block"),
        ({"repeat": 2, "blocks": []}, ".blocks is empty; expected a list of at least one block"),
        (
            {"repeat": 2, "blok": [conv()]},
            ".blok is an unknown key; expected one of repeat, blocks (did you mean blocks?)",
        ),
        (
            {"repeat": 2, "blocks": [conv()], "type": "conv"},
            ".type is an unknown key; expected one of repeat, blocks",
        ),
        (
            "global_pool",
            ' is "global_pool"; expected a mapping, {type: global_pool}, '
            "or one with type and its fields, with repeat and blocks, or with one_of",
        ),
        (None, " is empty; expected a mapping, with type and its fields, with repeat and blocks, or with one_of"),
    ],
)
def test_wrong_block_is_one_clear_problem(block: object, problem: str) -> None:
    assert problems_of(block) == [f"blocks[0]{problem}"]


@pytest.mark.parametrize("blocks", [None, [], {}, "conv"])
def test_blocks_that_are_no_list_are_refused(blocks: object) -> None:
    with pytest.raises(InvalidValueError, match="expected a list of at least one block"):
        parse_blocks(blocks)


def test_fields_of_one_name_have_one_value() -> None:
    bits = {"choices": [4, 8], "as": "bits"}
    space = space_of(conv(weight_bit_width=bits, activation_bit_width=bits), LINEAR)
    trial = FixedTrial({"bits": 8})
    block = space.suggest(trial).architecture.blocks[0]
    assert isinstance(block, Conv)
    assert (block.weight_bit_width, block.activation_bit_width) == (8, 8)


def test_name_of_a_shared_value_is_checked() -> None:
    assert problems_of(conv(weight_bit_width={"choices": [4, 8], "as": "My bits"})) == [
        'blocks[0].weight_bit_width.as is "My bits"; '
        "expected a name of up to 32 lower-case letters, digits and _, a letter first, such as bits"
    ]


def test_one_of_several_lists_is_drawn() -> None:
    space = space_of({"one_of": {"wide": [conv(out_channels=32)], "deep": [conv(), conv()]}}, LINEAR)
    for name, channels in (("wide", [32]), ("deep", [8, 8])):
        blocks = space.suggest(FixedTrial({"space.blocks[0].one_of": name})).architecture.blocks
        assert [block.out_channels for block in blocks if isinstance(block, Conv)] == channels


def test_problem_in_a_variant_or_a_branch_names_its_place() -> None:
    assert problems_of({"one_of": {"wide": [conv(stride=0)]}}, {"one_of": []}, {"one_of": {"a b": [conv()]}}) == [
        "blocks[0].one_of.wide[0].stride is 0; expected a whole number from 1 to 16",
        "blocks[1].one_of is empty; expected a mapping of names to lists of blocks",
        'blocks[2].one_of is "a b"; expected a name of 1 to 64 letters, digits, _ or -',
    ]
    branches = [[conv()], [conv(stride=0)]]
    assert problems_of({"type": "parallel", "branches": branches}, {"type": "parallel", "branches": []}) == [
        "blocks[0].branches[1][0].stride is 0; expected a whole number from 1 to 16",
        "blocks[1].branches is empty; expected a list of at least two branches, each a list of blocks",
    ]


def test_values_of_branches_are_drawn_one_by_one() -> None:
    branches = [[conv(kernel_size={"choices": [3, 5]})], [conv(kernel_size={"choices": [7, 9]})]]
    space = space_of({"type": "parallel", "branches": branches}, LINEAR)
    drawn = {"space.blocks[0].branches[0][0].kernel_size": 5, "space.blocks[0].branches[1][0].kernel_size": 7}
    block = space.suggest(FixedTrial(drawn)).architecture.blocks[0]
    assert isinstance(block, Parallel)
    assert [inner.kernel_size for branch in block.branches for inner in branch if isinstance(inner, Conv)] == [5, 7]


def test_grid_has_each_combination_once() -> None:
    strides, channels = {"choices": [1, 2]}, {"int": [4, 8], "step": 2}
    variants = {"one_of": {"a": [conv(stride=strides)], "b": [conv(out_channels=channels, stride=16)]}}
    combinations = list_combinations(space_of(variants, LINEAR))
    assert combinations == [
        {"space.blocks[0].one_of": "a", "space.blocks[0].one_of.a[0].stride": 1},
        {"space.blocks[0].one_of": "a", "space.blocks[0].one_of.a[0].stride": 2},
        *({"space.blocks[0].one_of": "b", "space.blocks[0].one_of.b[0].out_channels": n} for n in (4, 6, 8)),
    ]


def test_endless_and_very_large_spaces_have_no_grid() -> None:
    endless = SearchSpace(
        space_of(conv(), LINEAR).space,
        TrainingPart.model_validate({"learning_rate": {"float": [0.001, 0.1]}}),
        PruningPart(),
        1,
    )
    assert find_grid_problem(endless) == (
        "choices for training.learning_rate, of which a grid has each: a range of floats has no end"
    )
    large = space_of(*(conv(out_channels={"int": [1, 40]}) for _ in range(2)), LINEAR)
    assert find_grid_problem(large) == "a space with at most 1000 combinations"
