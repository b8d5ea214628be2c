import pytest
from pydantic import ValidationError

from spaces.architecture import ArchitectureConfig, BlockShape, infer_shapes, iterate_blocks, split_global_pool
from spaces.blocks import (
    Block,
    Conv,
    DepthwiseSeparable,
    GlobalPool,
    InputQuantizer,
    InvertedResidual,
    Linear,
    MaxPool,
    Parallel,
    list_layer_bits,
)

SCORES = Linear(out_features=24, weight_bit_width=6)


def dsc(kernel_size: int, stride: int, out_channels: int, residual: bool | None = None) -> DepthwiseSeparable:
    return DepthwiseSeparable(
        kernel_size=kernel_size,
        stride=stride,
        out_channels=out_channels,
        weight_bit_width=6,
        activation_bit_width=6,
        residual=residual,
    )


def conv(kernel_size: int = 3, stride: int = 1) -> Conv:
    return Conv(kernel_size=kernel_size, stride=stride, out_channels=8, weight_bit_width=4, activation_bit_width=4)


def inverted(stride: int, out_channels: int) -> InvertedResidual:
    return InvertedResidual(
        kernel_size=5,
        stride=stride,
        out_channels=out_channels,
        expansion=2,
        weight_bit_width=8,
        activation_bit_width=8,
    )


def network(*blocks: Block) -> ArchitectureConfig:
    return ArchitectureConfig(blocks=(*blocks, SCORES))


# BacalhauNet (Rosa et al., ITU J-FET): kernels 27, 21, 15, 9, 9; strides 2, 1, 2, 1, 2; channels 24, 24, 48, 48, 48.
BACALHAUNET = network(
    InputQuantizer(), dsc(27, 2, 24), dsc(21, 1, 24), dsc(15, 2, 48), dsc(9, 1, 48), dsc(9, 2, 48), GlobalPool()
)


def test_shapes_of_bacalhaunet_are_the_papers() -> None:
    shapes = infer_shapes(BACALHAUNET)
    assert [(s.out_channels, s.out_length) for s in shapes] == [
        (2, 1024), (24, 512), (24, 512), (48, 256), (48, 256), (48, 128), (48, 1), (24, 1),
    ]  # fmt: skip
    assert [s.is_residual for s in shapes] == [False, False, True, False, True, False, False, False]
    assert shapes[7] == BlockShape(48, 1, 6, 24, 1, 32, is_signed=True)


def test_each_block_starts_where_the_one_before_it_ends() -> None:
    shapes = infer_shapes(BACALHAUNET)
    ends = [(s.out_channels, s.out_length, s.out_bit_width) for s in shapes[:-1]]
    assert ends == [(s.in_channels, s.in_length, s.in_bit_width) for s in shapes[1:]]


def test_stride_rounds_the_length_up() -> None:
    config = ArchitectureConfig(blocks=(conv(stride=2), SCORES), frame_length=9)
    assert infer_shapes(config)[0].out_length == 5


def test_residual_needs_stride_one_equal_channels_and_a_relu_before_it() -> None:
    shapes = infer_shapes(network(dsc(3, 1, 2), dsc(3, 1, 2), dsc(3, 2, 2), dsc(3, 1, 4), inverted(1, 4)))
    assert [s.is_residual for s in shapes[:-1]] == [False, True, False, False, True]


def test_residual_can_be_switched_off() -> None:
    assert not infer_shapes(network(conv(), dsc(3, 1, 8, residual=False)))[1].is_residual


def test_config_survives_json() -> None:
    assert ArchitectureConfig.model_validate_json(BACALHAUNET.model_dump_json()) == BACALHAUNET


def test_architecture_id_is_the_same_in_every_version() -> None:
    assert BACALHAUNET.architecture_id == "56645f1c9402"


def test_architecture_id_does_not_depend_on_how_defaults_are_given() -> None:
    written_out = InputQuantizer(bit_width=8, clip=3.0)
    assert network(InputQuantizer(), conv()).architecture_id == network(written_out, conv(stride=1)).architecture_id


def test_architecture_id_differs_where_the_network_differs() -> None:
    assert network(conv(3)).architecture_id != network(conv(5)).architecture_id


def test_layers_have_the_bits_of_their_block_unless_given_their_own() -> None:
    own = dsc(9, 2, 16).model_copy(update={"depthwise_weight_bit_width": 8, "depthwise_activation_bit_width": 3})
    assert list_layer_bits(dsc(9, 2, 16)) == {"depthwise": (6, 6), "pointwise": (6, 6)}
    assert list_layer_bits(own) == {"depthwise": (8, 3), "pointwise": (6, 6)}
    expanded = inverted(1, 8).model_copy(update={"expand_weight_bit_width": 2})
    assert list_layer_bits(expanded) == {"expand": (2, 8), "depthwise": (8, 8), "project": (8, 8)}
    assert list_layer_bits(SCORES) == {"linear": (6, None)}
    assert list_layer_bits(GlobalPool()) == {}


def test_bits_that_are_not_given_are_not_stored() -> None:
    """Ids of networks, and folders of trials, from before there were bits of each layer stay as they were."""
    assert "depthwise_weight_bit_width" not in dsc(9, 2, 16).model_dump()
    own = dsc(9, 2, 16).model_copy(update={"depthwise_weight_bit_width": 8})
    assert DepthwiseSeparable.model_validate_json(own.model_dump_json()) == own
    assert network(own).architecture_id != network(dsc(9, 2, 16)).architecture_id


@pytest.mark.parametrize(
    ("config", "is_quantized"),
    [
        (BACALHAUNET, True),
        (network(InputQuantizer(), GlobalPool()), True),
        (network(conv()), False),
        (network(InputQuantizer(), conv().model_copy(update={"weight_bit_width": 32})), False),
        (network(InputQuantizer(), conv().model_copy(update={"activation_bit_width": 32})), False),
        (network(InputQuantizer(), dsc(9, 1, 8).model_copy(update={"depthwise_activation_bit_width": 32})), False),
    ],
)
def test_network_is_quantized_when_every_weight_and_input_has_at_most_8_bits(
    config: ArchitectureConfig, is_quantized: bool
) -> None:
    assert config.is_quantized is is_quantized


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((), "blocks is empty; expected at least one linear block"),
        ((conv(), InputQuantizer(), SCORES), r"blocks\[1\] is an input_quantizer; expected only as the first block"),
        ((conv(),), r"blocks\[0\], the last, is conv; expected linear with one feature per class, 24"),
        (
            (Linear(out_features=11, weight_bit_width=4),),
            r"blocks\[0\], the last, is linear with 11 features; expected linear with one feature per class, 24",
        ),
        (
            (Linear(out_features=24, weight_bit_width=4, activation_bit_width=8),),
            r"blocks\[0\]\.activation_bit_width is 8; expected none, for the last linear block gives the class scores",
        ),
        ((SCORES, SCORES), r"blocks\[0\]\.activation_bit_width is missing; only the last linear block has none"),
        (
            (Linear(out_features=8, weight_bit_width=4, activation_bit_width=4), conv(), SCORES),
            r"blocks\[1\] is a conv after a linear block; expected linear",
        ),
        ((MaxPool(kernel_size=3), SCORES), r"blocks\[0\]\.kernel_size is 3; expected a divisor of .* 1024"),
        (
            (GlobalPool(), conv(kernel_size=3), SCORES),
            r"blocks\[1\]\.kernel_size is 3; expected at most 1, for the length there is 1",
        ),
        (
            (conv(1, 16), conv(1, 16), conv(1, 16), SCORES),
            "the product of all strides is 4096; expected at most the frame length, 1024",
        ),
        (
            (conv(), dsc(3, 2, 8, residual=True), SCORES),
            r"blocks\[1\]\.residual is true with stride 2, 8 -> 8 channels; expected stride 1, equal channels",
        ),
        (
            (dsc(3, 1, 2, residual=True), SCORES),
            r"blocks\[0\]\.residual is true .* a block before it that ends as this one",
        ),
    ],
)
def test_blocks_that_do_not_fit_together_say_why(blocks: tuple[Block, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ArchitectureConfig(blocks=blocks)


def test_stride_product_may_reach_the_frame_length() -> None:
    config = network(MaxPool(kernel_size=1024))
    assert infer_shapes(config)[0].out_length == 1


@pytest.mark.parametrize("bit_width", [0, 1, 9, 16, 31, 33])
def test_other_bit_widths_are_refused(bit_width: int) -> None:
    with pytest.raises(ValidationError, match="expected 2 to 8 bits, or 32 for float"):
        Linear(out_features=24, weight_bit_width=bit_width)


@pytest.mark.parametrize("kernel_size", [2, 4, 254])
def test_even_kernels_are_refused(kernel_size: int) -> None:
    with pytest.raises(ValidationError, match="expected an odd kernel size"):
        dsc(kernel_size, 1, 8)


def test_unknown_key_in_stored_json_is_an_error() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ArchitectureConfig.model_validate_json('{"blocks": [{"type": "global_pool", "size": 3}]}')


@pytest.mark.parametrize(
    ("length", "pools"),
    [(1, ()), (2, (2,)), (16, (16,)), (128, (16, 8)), (1024, (16, 16, 4)), (342, (19, 9, 2)), (30, (15, 2))],
)
def test_global_pool_is_split_into_narrow_pools(length: int, pools: tuple[int, ...]) -> None:
    assert split_global_pool(length) == pools


@pytest.mark.parametrize("length", range(1, 1025, 31))
def test_split_pools_cover_the_whole_length(length: int) -> None:
    product = 1
    for pool in split_global_pool(length):
        product *= pool
    assert product == length


def branch(*kernel_sizes: int, stride: int = 4) -> tuple[Block, ...]:
    return tuple(conv(kernel_size, stride if index == 0 else 1) for index, kernel_size in enumerate(kernel_sizes))


def test_branches_lie_side_by_side() -> None:
    architecture = network(Parallel(branches=(branch(32, 1), branch(9))), dsc(3, 1, 16))
    joined, behind = infer_shapes(architecture)[:2]
    assert (joined.out_channels, joined.out_length, joined.out_bit_width) == (16, 256, 4)
    assert [[shape.out_length for shape in row] for row in joined.branches] == [[256, 256], [256]]
    assert behind.is_residual
    names = [name for name, _, _ in iterate_blocks(architecture)]
    assert names[:4] == ["blocks.0", "blocks.0.branches.0.0", "blocks.0.branches.0.1", "blocks.0.branches.1.0"]


@pytest.mark.parametrize(
    ("branches", "problem"),
    [
        (
            (branch(9), branch(9, stride=2)),
            r"branches\[1\] ends with length 512, 4 bits and relu; expected length 256",
        ),
        ((branch(9), (MaxPool(kernel_size=4),)), r"branches\[1\] has no layer; expected at least one convolution"),
        ((branch(9), (*branch(9), GlobalPool())), r"branches\[1\]\[1\] is a global_pool; expected none in a branch"),
        (
            ((InputQuantizer(), *branch(9)), branch(9)),
            r"branches\[0\]\[0\] is an input_quantizer; expected only as the",
        ),
    ],
)
def test_branches_that_do_not_fit_together_say_why(branches: tuple[tuple[Block, ...], ...], problem: str) -> None:
    with pytest.raises(ValidationError, match=rf"blocks\[0\]\.{problem}"):
        network(Parallel(branches=branches))


def test_expansion_is_a_factor_or_a_number_of_channels() -> None:
    with pytest.raises(
        ValidationError, match=r"expansion is missing with hidden_channels missing; expected one of both"
    ):
        network(inverted(1, 16).model_copy(update={"expansion": None}))
    both = inverted(1, 16).model_copy(update={"hidden_channels": 40})
    with pytest.raises(ValidationError, match=r"expansion is \d with hidden_channels 40; expected one of both"):
        network(both)
    assert both.count_hidden(16) == 40


def test_samples_are_not_clipped_beyond_the_quantizers_range() -> None:
    with pytest.raises(ValidationError, match=r"blocks\[0\].lowest is -4; expected at least -clip, -3"):
        network(InputQuantizer(lowest=-4.0))


def test_older_designs_keep_their_ids() -> None:
    """New fields are stored only where they are used."""
    architecture = network(InputQuantizer(), conv(), dsc(3, 1, 8), inverted(1, 8))
    new = ("lowest", 'activation"', "squeeze", "hidden", "linear_projection", "operation", "excite")
    assert not [name for name in new if name in architecture.model_dump_json()]


def test_branches_end_in_the_same_function_and_hold_no_others() -> None:
    swish = conv(9, 4).model_copy(update={"activation": "hard_swish"})
    with pytest.raises(ValidationError, match=r"branches\[1\] ends with length 256, 4 bits and hard_swish; expected"):
        network(Parallel(branches=((conv(9, 4),), (swish,))))
    inner = Parallel(branches=((conv(9, 4),), (conv(5, 4),)))
    with pytest.raises(ValidationError, match=r"branches\[1\]\[0\] is a parallel; expected none in a branch"):
        network(Parallel(branches=((conv(9, 4),), (inner,))))


def test_residual_sum_needs_a_block_before_it_that_ends_in_the_same_way() -> None:
    linear = inverted(1, 8).model_copy(update={"linear_projection": True})
    shapes = infer_shapes(network(conv(), linear, linear, inverted(1, 8)))
    assert [shape.is_residual for shape in shapes] == [False, False, True, False, False]
