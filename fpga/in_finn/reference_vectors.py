"""The recorded frames through the QONNX file, the streamlined and the folded graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from finn.util.verification import despecialize_model
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from .estimates import MAC_LAYERS
from .execution import GraphRunner
from .fast_nodes import Tensors
from .host_io import quantize_frame


class BitWidthError(Exception):
    """A layer is given, or makes, an integer that its streams have no bits for."""


@dataclass(frozen=True)
class RunnableGraph:
    """One form of the network: how frames go in, and where its integers can be read."""

    model: ModelWrapper
    to_input: Callable[[np.ndarray], np.ndarray]
    """Of a frame (channels, length)."""
    read_scores: Callable[[Tensors], np.ndarray]
    """Integer class scores, (n_classes,)."""
    read_class: Callable[[Tensors], int]
    """What the network answers: that class's number."""
    read_activations: Callable[[Tensors], list[np.ndarray]]
    """Integer outputs of the quantizers, in the order of the data, without dimensions of 1."""
    is_double: bool = False
    check_bit_widths: Callable[[Tensors], None] = lambda _: None
    """Of all tensors of one frame; raises BitWidthError."""

    def make_runner(self) -> Callable[[np.ndarray], Tensors]:
        """From a frame (channels, length) to all tensors of the graph."""
        runner = GraphRunner(self.model, is_double=self.is_double)
        return lambda frame: runner.run(self.to_input(frame))


@dataclass(frozen=True)
class NetworkForms:
    """One network as FINN makes its graphs of each other."""

    qonnx: ModelWrapper
    """As exported."""
    streamlined: ModelWrapper
    """Integers between thresholds, standard ONNX."""
    folded: ModelWrapper
    """Hardware layers."""


def write_graph_outputs(path: Path, frames: np.ndarray, forms: NetworkForms, host_io: Mapping[str, Any]) -> None:
    """Runs frames (n, channels, length) through all three graphs and writes what each gave.

    Per graph G: G_scores (n, n_classes) int64, and G_differs_in, the first layer of the trained network, named as in
    the QONNX file, whose integers are not those of the QONNX file, on the first frame whose scores differ; else "".
    folded_classes (n,) is what comes out of the folded graph, or the largest of its scores where these come out.
    Raises BitWidthError where a value of the folded graph, which Python computes with floats, has too few bits.
    """
    graphs = {
        "qonnx": open_qonnx(forms.qonnx, host_io["logit_scale"]),
        "streamlined": open_streamlined(forms.streamlined, host_io),
        "folded": open_folded(forms.folded, host_io),
    }
    written: dict[str, npt.ArrayLike] = {"logit_scale": host_io["logit_scale"]}
    expected = None
    for name, graph in graphs.items():
        scores, classes = zip(*_run_frames(graph, frames), strict=True)
        integers = np.rint(np.stack(scores)).astype(np.int64)
        expected = integers if expected is None else expected
        differing = frames[(integers != expected).any(axis=1)]
        written[f"{name}_scores"] = integers
        written[f"{name}_differs_in"] = (
            find_first_difference(differing[0], graphs["qonnx"], graph) if len(differing) else ""
        )
    written["folded_classes"] = classes
    with path.with_name(path.name + ".partial").open("wb") as unfinished:
        np.savez(unfinished, **written)  # type: ignore[arg-type]
    path.with_name(path.name + ".partial").replace(path)


def _run_frames(graph: RunnableGraph, frames: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    run = graph.make_runner()
    for frame in frames:
        tensors = run(frame)
        graph.check_bit_widths(tensors)
        yield graph.read_scores(tensors), graph.read_class(tensors)


def open_qonnx(model: ModelWrapper, logit_scale: float) -> RunnableGraph:
    """The file as exported: floats, whose quantizers give integers times a scale."""
    quantizers = _find_activation_quantizers(model)
    scales = [model.get_initializer(node.input[1]) for node in quantizers]
    output = model.graph.output[0].name
    return RunnableGraph(
        model,
        to_input=lambda frame: frame[np.newaxis].astype(np.float32),  # (1, channels, length)
        read_scores=lambda tensors: tensors[output].ravel() / logit_scale,
        read_class=lambda tensors: int(tensors[output].argmax()),
        read_activations=lambda tensors: [
            _to_integers(tensors[node.output[0]] / scale) for node, scale in zip(quantizers, scales, strict=True)
        ],
        is_double=True,
    )


def open_streamlined(model: ModelWrapper, host_io: Mapping[str, Any]) -> RunnableGraph:
    """Integers between thresholds, standard ONNX otherwise; its output is the scores."""
    return _open_integers(model, host_io, "MultiThreshold", model.graph.output[0].name)


def open_folded(model: ModelWrapper, host_io: Mapping[str, Any]) -> RunnableGraph:
    """The hardware layers with their final folding and bit widths, in Python: neither their C++ nor their Verilog."""
    model = despecialize_model(model)
    top = model.get_nodes_by_op_type("LabelSelect")
    output = model.graph.output[0].name
    graph = _open_integers(model, host_io, "Thresholding", top[0].input[0] if top else output)
    if top:
        graph = replace(graph, read_class=lambda tensors: int(tensors[output].item()))
    return replace(graph, check_bit_widths=make_bit_width_check(model))


def make_bit_width_check(model: ModelWrapper) -> Callable[[Tensors], None]:
    """Whether what each layer is given and makes lies within its integer types, from which its hardware is made."""
    ports = []
    for node in model.graph.node:
        layer = getCustomOp(node)
        for names, read_type in ((node.input, layer.get_input_datatype), (node.output, layer.get_output_datatype)):
            ports += [(node.name, name, read_type(index)) for index, name in enumerate(names)]

    def check(tensors: Tensors) -> None:
        for layer, name, datatype in ports:
            lowest, highest = tensors[name].min(), tensors[name].max()
            if lowest < datatype.min() or highest > datatype.max():
                raise BitWidthError(
                    f"{layer} has values from {lowest:g} to {highest:g} in {name}; expected those of {datatype.name}, "
                    f"{datatype.min():g} to {datatype.max():g}"
                )

    return check


def _open_integers(model: ModelWrapper, host_io: Mapping[str, Any], quantizer: str, scores: str) -> RunnableGraph:
    thresholds = [model.graph.input[0].name, *(node.output[0] for node in model.get_nodes_by_op_type(quantizer))]
    return RunnableGraph(
        model,
        to_input=lambda frame: quantize_frame(host_io, frame),
        read_scores=lambda tensors: tensors[scores].ravel(),
        read_class=lambda tensors: int(tensors[scores].argmax()),
        read_activations=lambda tensors: [_to_integers(tensors[name]) for name in thresholds],
    )


def find_first_difference(frame: np.ndarray, reference: RunnableGraph, other: RunnableGraph) -> str:
    """The layer of the QONNX file after which the integers of one frame part ways."""
    expected, found = (graph.read_activations(graph.make_runner()(frame)) for graph in (reference, other))
    names = name_activations(reference.model)
    if len(expected) != len(found):
        return f"an unknown layer, for the QONNX file has {len(expected)} quantizers and the graph {len(found)}"
    return next(
        (name for name, a, b in zip(names, expected, found, strict=True) if not _is_equal(a, b)), "the class scores"
    )


def name_activations(model: ModelWrapper) -> list[str]:
    """Per quantizer of activations, the MAC layer whose results it takes."""
    return [_find_mac_layer(model, node) for node in _find_activation_quantizers(model)]


def _find_activation_quantizers(model: ModelWrapper) -> Sequence[NodeProto]:
    return [node for node in model.get_nodes_by_op_type("Quant") if model.get_initializer(node.input[0]) is None]


def _find_mac_layer(model: ModelWrapper, node: NodeProto) -> str:
    """Of a sum, the branch whose results are new: the last input."""
    behind = f" ({node.name})"
    while (producer := model.find_producer([name for name in node.input if _is_computed(model, name)][-1])) is not None:
        if producer.op_type in MAC_LAYERS:
            return f"{producer.name}{behind}"
        node = producer
    return "the input quantizer" + behind


def _is_computed(model: ModelWrapper, tensor: str) -> bool:
    return bool(tensor) and model.get_initializer(tensor) is None


def _to_integers(values: np.ndarray) -> np.ndarray:
    integers: np.ndarray = np.rint(values).astype(np.int64).squeeze()
    return integers


def _is_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal, channels first or last."""
    return np.array_equal(a, b) or np.array_equal(a.T, b)
