"""The ITU PS-007 inference cost: counted from an architecture, or read off a QONNX file.

`python -m workers.inference_cost MODEL.onnx [--json]` scores a file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spaces.architecture import ArchitectureConfig, BlockShape, iterate_blocks
from spaces.blocks import FLOAT_BIT_WIDTH, Block, Conv, DepthwiseSeparable, InvertedResidual, Linear, list_layer_bits
from storage.commands import make_parser, run_command
from storage.records import Cost

BASELINE_BIT_OPS = 807_699_904
"""Bit operations of the trained 8-bit VGG10, its zero weights discounted (ITU PS-007 rules; QONNX's RadioML_VGG10)."""

BASELINE_WEIGHT_BITS = 1_244_936
"""Weight bits of the same network (same source)."""

LEAST_KEPT = 4
"""Weights that each layer keeps where a cost target decides: a layer without weights passes nothing on."""


@dataclass(frozen=True)
class MacLayer:
    """One convolution or fully connected layer, as the cost counts it."""

    name: str
    """Name of its module in the model that `workers.model.build_model` makes."""
    macs: int
    """Multiply-accumulates for one frame, zero weights and padding included."""
    weights: int
    weight_bit_width: int
    activation_bit_width: int
    """Bits of the tensor that enters; 32 where it is float."""


@dataclass(frozen=True)
class LayerCost:
    """What one layer adds to the cost, its zero weights discounted."""

    name: str
    bit_ops: float
    weight_bits: float


def count_cost(architecture: ArchitectureConfig, density: Mapping[str, float]) -> Cost:
    """The cost of one inference; lower is better.

    `density` is the fraction of non-zero weights per MAC layer after weight quantization, 0 to 1. A layer that it does
    not name counts as dense. Biases, batch norm, activations and pooling are free (ITU PS-007 rules).
    """
    costs = count_layer_costs(architecture, density)
    bit_ops = sum(c.bit_ops for c in costs)
    weight_bits = sum(c.weight_bits for c in costs)
    parameters = sum(layer.weights for layer in list_mac_layers(architecture))
    return Cost(bit_ops, weight_bits, score_inference_cost(bit_ops, weight_bits), parameters)


def count_layer_costs(architecture: ArchitectureConfig, density: Mapping[str, float]) -> tuple[LayerCost, ...]:
    """The cost of each MAC layer, in order; `density` as in `count_cost`. Raises KeyError for an unknown layer name."""
    layers = list_mac_layers(architecture)
    unknown = set(density) - {layer.name for layer in layers}
    if unknown:
        raise KeyError(f"density names {sorted(unknown)}; expected layers of {[layer.name for layer in layers]}")
    return tuple(_count_layer(layer, density.get(layer.name, 1.0)) for layer in layers)


def score_inference_cost(bit_ops: float, weight_bits: float) -> float:
    """The challenge's score eta: 0.5 bit_ops / baseline + 0.5 weight_bits / baseline (ITU PS-007); lower is better."""
    return 0.5 * bit_ops / BASELINE_BIT_OPS + 0.5 * weight_bits / BASELINE_WEIGHT_BITS


def list_marginal_costs(architecture: ArchitectureConfig) -> dict[str, float]:
    """What one non-zero weight of each MAC layer adds to the inference cost."""
    return {
        layer.name: score_inference_cost(
            layer.macs / layer.weights * layer.weight_bit_width * layer.activation_bit_width, layer.weight_bit_width
        )
        for layer in list_mac_layers(architecture)
    }


def find_least_cost(architecture: ArchitectureConfig) -> float:
    """The cost of the network with `LEAST_KEPT` weights in each layer: no pruning goes below it."""
    costs = list_marginal_costs(architecture)
    return sum(min(LEAST_KEPT, layer.weights) * costs[layer.name] for layer in list_mac_layers(architecture))


def list_mac_layers(architecture: ArchitectureConfig) -> tuple[MacLayer, ...]:
    """Each convolution and fully connected layer of the network, in the order frames pass them."""
    layers: list[MacLayer] = []
    for block_name, block, shape in iterate_blocks(architecture):
        in_bits = shape.in_bit_width
        bits = list_layer_bits(block)
        for name, (weights, positions) in _list_sizes(block, shape).items():
            layers.append(MacLayer(f"{block_name}.{name}", weights * positions, weights, bits[name].weight, in_bits))
            in_bits = bits[name].activation or FLOAT_BIT_WIDTH
    return tuple(layers)


def score_qonnx_file(path: Path) -> dict[str, Any]:
    """Bit operations, weight bits and score of one frame through a QONNX file, zero weights discounted.

    Returns {"bit_ops", "weight_bits", "inference_cost", "layers": [{"name", "bit_ops", "weight_bits"}, ...], "frame":
    {input: its shape without the batch}}. Raises what `count_qonnx_file` raises.
    """
    from workers.qonnx_cost import count_qonnx_file

    cost = count_qonnx_file(path)
    bit_ops, weight_bits = sum(c.bit_ops for c in cost.layers), sum(c.weight_bits for c in cost.layers)
    inference_cost = score_inference_cost(bit_ops, weight_bits)
    return {"bit_ops": bit_ops, "weight_bits": weight_bits, "inference_cost": inference_cost, **asdict(cost)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Scores a QONNX file; 0, or 2 where the file cannot be scored."""
    from workers.qonnx_cost import QonnxFileError

    parser = make_parser(prog="python -m workers.inference_cost", description=__doc__)
    parser.add_argument("model", type=Path, help="a QONNX file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(arguments)
    try:
        score = score_qonnx_file(args.model)
    except QonnxFileError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(score, indent=2) if args.json else _format_score(score))
    return 0


def _count_layer(layer: MacLayer, density: float) -> LayerCost:
    bit_ops = layer.macs * density * layer.weight_bit_width * layer.activation_bit_width
    return LayerCost(layer.name, bit_ops, layer.weights * density * layer.weight_bit_width)


def _list_sizes(block: Block, shape: BlockShape) -> dict[str, tuple[int, int]]:
    """Weights and output positions of each layer of a block, in order."""
    channels, out_channels, length = shape.in_channels, shape.out_channels, shape.out_length
    match block:
        case Conv():
            return {"conv": (channels * out_channels * block.kernel_size, length)}
        case DepthwiseSeparable():
            depthwise = {"depthwise": (channels * block.kernel_size, length)}
            return {**depthwise, **_gate_sizes(block, channels), "pointwise": (channels * out_channels, length)}
        case InvertedResidual():
            hidden = block.count_hidden(channels)
            return {
                "expand": (channels * hidden, shape.in_length),
                "depthwise": (hidden * block.kernel_size, length),
                **_gate_sizes(block, hidden),
                "project": (hidden * out_channels, length),
            }
        case Linear():
            return {"linear": (channels * shape.in_length * block.out_features, 1)}
    return {}


def _gate_sizes(block: DepthwiseSeparable | InvertedResidual, channels: int) -> dict[str, tuple[int, int]]:
    """The two layers of the gate see one position: the mean over time."""
    if block.squeeze_channels is None:
        return {}
    return dict.fromkeys(("squeeze", "excite"), (channels * block.squeeze_channels, 1))


def _format_score(score: dict[str, Any]) -> str:
    rows = [f"{'layer':<24}{'bit-ops':>16}{'weight bits':>14}"]
    total = {"name": "total", **{key: score[key] for key in ("bit_ops", "weight_bits")}}
    for layer in [*score["layers"], total]:
        rows.append(f"{layer['name']:<24}{layer['bit_ops']:>16,.0f}{layer['weight_bits']:>14,.0f}")
    frames = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in score["frame"].items())
    return "\n".join([f"one frame: {frames}", *rows, f"inference cost {score['inference_cost']:.6f}"])


if __name__ == "__main__":
    run_command(main)
