"""Faster forms of the nodes that QONNX and FINN execute slowest; they give the same integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Tensors = dict[str, np.ndarray]

RunNode = Callable[[Tensors], None]


def _prepare_multi_threshold(layer: Any) -> RunNode:
    layout, scale = layer.get_nodeattr("data_layout"), layer.get_nodeattr("out_scale")
    if layout not in ("NHWC", "NC") or scale != 1:
        raise ValueError(f"{layer.onnx_node.name} has layout {layout}, scale {scale}; expected NHWC or NC, and 1")
    return _prepare_thresholds(layer, layer.get_nodeattr("out_bias"))


def _prepare_thresholds(layer: Any, bias: float) -> RunNode:
    """How many of its channel's thresholds each value has reached; channels are last, thresholds do not decrease."""
    (values_name, thresholds_name), (output,) = layer.onnx_node.input, layer.onnx_node.output

    def run(tensors: Tensors) -> None:
        values, thresholds = tensors[values_name], tensors[thresholds_name]
        if len(thresholds) == 1:
            counts = np.searchsorted(thresholds[0], values, side="right")
        else:
            rows = values.reshape(-1, values.shape[-1])
            columns = (np.searchsorted(row, rows[:, at], side="right") for at, row in enumerate(thresholds))
            counts = np.stack(list(columns), axis=1).reshape(values.shape)
        tensors[output] = (counts + bias).astype(np.float32)

    return run


def _prepare_windows(layer: Any, names: tuple[str, str, str], padding: Sequence[int]) -> RunNode:
    """Of one dimension: (1, length, 1, channels) to (1, out_length, 1, kernel_size * channels).

    `names` are those of the attributes for kernel, stride and dilation.
    """
    (kernel_size, _), (stride, _), (dilation, _) = (layer.get_nodeattr(name) for name in names)
    (name,), (output,) = layer.onnx_node.input, layer.onnx_node.output
    reach = (kernel_size - 1) * dilation + 1

    def run(tensors: Tensors) -> None:
        samples = np.pad(tensors[name][0, :, 0], ((padding[0], padding[2]), (0, 0)))  # (padded_length, channels)
        windows = sliding_window_view(samples, reach, axis=0)[::stride, :, ::dilation]  # (out_length, channels, kernel)
        tensors[output] = windows.transpose(0, 2, 1).reshape(1, len(windows), 1, -1)

    return run


def _prepare_pool(layer: Any) -> RunNode:
    """MaxPoolNHWC of one dimension."""
    (kernel_size, _), (stride, _) = layer.get_nodeattr("kernel_shape"), layer.get_nodeattr("strides")
    (name,), (output,) = layer.onnx_node.input, layer.onnx_node.output
    if any(layer.get_nodeattr("pads")):
        raise ValueError(f"{layer.onnx_node.name} has pads; expected none")

    def run(tensors: Tensors) -> None:
        windows = sliding_window_view(tensors[name], kernel_size, axis=1)[:, ::stride]
        tensors[output] = windows.max(axis=-1)  # (1, out_length, 1, channels)

    return run


FAST_NODES: dict[str, Callable[[Any], RunNode]] = {
    "MultiThreshold": _prepare_multi_threshold,
    "Thresholding": lambda layer: _prepare_thresholds(layer, layer.get_nodeattr("ActVal")),
    "Im2Col": lambda layer: _prepare_windows(
        layer, ("kernel_size", "stride", "dilations"), layer.get_nodeattr("pad_amount")
    ),
    "ConvolutionInputGenerator": lambda layer: _prepare_windows(
        layer, ("ConvKernelDim", "Stride", "Dilation"), (0, 0, 0, 0)
    ),
    "MaxPoolNHWC": _prepare_pool,
}
