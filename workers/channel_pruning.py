"""Whole channels removed from a network: what is left is a smaller network of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spaces.architecture import ArchitectureConfig, BlockShape, infer_shapes
from spaces.blocks import Block, Conv, DepthwiseSeparable, InvertedResidual, Linear
from spaces.pruning_stages import StructuredStage
from workers.model import Network, QuantizedNetwork, build_model


@dataclass
class _Channels:
    """Channels that live and go together: those of one tensor, and of all that residual sums add to it."""

    size: int
    is_removable: bool = True
    makers: list[str] = field(default_factory=list)
    """Names of the layers that compute them, each with its batch norm `NAME_norm`."""
    of: _Channels | None = None
    multiple: int = 1
    """Where `of` is given, so many of these are kept for each channel that is kept there."""
    kept: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True)
class _Layer:
    """Which channels the two dimensions of a layer's weights belong to."""

    name: str
    outputs: _Channels
    inputs: _Channels | None
    """None in a depthwise layer, whose filters have one input."""
    positions: int = 1
    """Of a linear layer: inputs for each channel."""


def remove_channels(network: Network, stage: StructuredStage) -> Network:
    """Removes the fraction of each layer's channels, or of all, that has the lowest scores; each layer keeps one.

    A channel's score is the norm of the weights that compute it (ln_structured, dim 0), or the magnitude of its batch
    norm's scale (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017). Channels
    that a residual sum joins have the sum of their scores, and go together. The frames' channels and the classes stay.
    """
    architecture, model = network.architecture, network.model
    layers, blocks = _trace(architecture)
    groups = _unique(channels for layer in layers for channels in (layer.outputs, layer.inputs) if channels is not None)
    _choose_kept(groups, lambda channels: _score(model, channels, stage.by), stage)
    shapes = infer_shapes(architecture)
    hidden = {layer.name: layer.outputs for layer in layers}
    shrunk = tuple(
        _shrink(block, shape, blocks.get(index), hidden.get(f"blocks.{index}.expand"))
        for index, (block, shape) in enumerate(zip(architecture.blocks, shapes, strict=True))
    )
    smaller = ArchitectureConfig.model_validate({**dict(architecture), "blocks": shrunk})
    result = build_model(smaller, seed=0).to(next(model.parameters()).device)
    result.load_state_dict(_slice_state(model.state_dict(), layers))
    return Network(smaller, result)


def _trace(architecture: ArchitectureConfig) -> tuple[list[_Layer], dict[int, _Channels]]:
    """The layers with their channels, and the channels that leave each block which makes some."""
    tensor = _Channels(architecture.input_shape[0], is_removable=False)
    layers: list[_Layer] = []
    leaving: dict[int, _Channels] = {}
    for index, (block, shape) in enumerate(zip(architecture.blocks, infer_shapes(architecture), strict=True)):
        if not isinstance(block, Conv | DepthwiseSeparable | InvertedResidual | Linear):
            continue
        is_last = index == len(architecture.blocks) - 1
        made = tensor if shape.is_residual else _Channels(shape.out_channels, is_removable=not is_last)
        own = _list_layers(block, shape, f"blocks.{index}", tensor, made)
        made.makers.append(own[-1].name)
        layers += own
        tensor = leaving[index] = made
    return layers, leaving


def _list_layers(block: Block, shape: BlockShape, prefix: str, entering: _Channels, made: _Channels) -> list[_Layer]:
    match block:
        case Conv():
            return [_Layer(f"{prefix}.conv", made, entering)]
        case DepthwiseSeparable():
            depthwise = _Layer(f"{prefix}.depthwise", entering, None)
            gate = _list_gate(block, prefix, entering)
            return [depthwise, *gate, _Layer(f"{prefix}.pointwise", made, entering)]
        case InvertedResidual():
            hidden = _Channels(block.count_hidden(entering.size))
            if block.expansion is not None:
                hidden.of, hidden.multiple = entering, block.expansion
            hidden.makers.append(f"{prefix}.expand")
            return [
                _Layer(f"{prefix}.expand", hidden, entering),
                _Layer(f"{prefix}.depthwise", hidden, None),
                *_list_gate(block, prefix, hidden),
                _Layer(f"{prefix}.project", made, hidden),
            ]
    return [_Layer(f"{prefix}.linear", made, entering, shape.in_length)]


def _list_gate(block: DepthwiseSeparable | InvertedResidual, prefix: str, gated: _Channels) -> list[_Layer]:
    if block.squeeze_channels is None:
        return []
    inner = _Channels(block.squeeze_channels, is_removable=False)
    return [_Layer(f"{prefix}.squeeze", inner, gated), _Layer(f"{prefix}.excite", gated, inner)]


def _choose_kept(groups: Sequence[_Channels], score: Callable[[_Channels], Tensor], stage: StructuredStage) -> None:
    free = [channels for channels in groups if channels.is_removable and channels.of is None]
    scores = {id(channels): score(channels) for channels in free}
    lowest = -torch.inf
    if stage.scope == "network":
        every = torch.cat([scores[id(channels)] for channels in free]).sort().values
        n_removed = round(stage.fraction * len(every))
        lowest = float(every[n_removed - 1]) if n_removed else -torch.inf
    for channels in groups:
        if not channels.is_removable:
            n_kept = channels.size
        elif channels.of is not None:
            n_kept = len(channels.of.kept) * channels.multiple
        elif stage.scope == "network":
            n_kept = int(torch.count_nonzero(scores[id(channels)] > lowest))
        else:
            n_kept = channels.size - round(stage.fraction * channels.size)
        best = score(channels).topk(max(n_kept, 1)).indices if channels.makers else torch.arange(channels.size)
        channels.kept = best.sort().values


def _score(model: QuantizedNetwork, channels: _Channels, by: str) -> Tensor:
    scores = [_score_maker(model, name, by) for name in channels.makers]
    return torch.stack(scores).sum(dim=0)


@torch.no_grad()
def _score_maker(model: QuantizedNetwork, name: str, by: str) -> Tensor:
    if by == "batch_norm" and (norm := _find_module(model, f"{name}_norm")) is not None:
        assert isinstance(norm, nn.BatchNorm1d)
        return norm.weight.abs().cpu()
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    norms: Tensor = torch.linalg.vector_norm(weight.flatten(1), ord=1 if by == "l1" else 2, dim=1)
    return norms.cpu()


def _slice_state(state: Mapping[str, Tensor], layers: Iterable[_Layer]) -> dict[str, Tensor]:
    smaller = dict(state)
    for layer in layers:
        weight = state[f"{layer.name}.weight"][layer.outputs.kept]
        if layer.inputs is not None:
            steps = torch.arange(layer.positions)
            weight = weight[:, (layer.inputs.kept[:, None] * layer.positions + steps).flatten()]
        smaller[f"{layer.name}.weight"] = weight
        for name in ("weight", "bias", "running_mean", "running_var"):
            key = f"{layer.name}_norm.{name}"
            if key in state:
                smaller[key] = state[key][layer.outputs.kept]
    return smaller


def _shrink(block: Block, shape: BlockShape, channels: _Channels | None, hidden: _Channels | None) -> Block:
    """The block with fewer channels. It says whether it has a residual sum, for equal channels may now be chance."""
    if channels is None:
        return block
    width = "out_features" if isinstance(block, Linear) else "out_channels"
    update: dict[str, object] = {width: len(channels.kept)}
    if isinstance(block, DepthwiseSeparable | InvertedResidual):
        update["residual"] = shape.is_residual
    if isinstance(block, InvertedResidual) and block.hidden_channels is not None:
        assert hidden is not None  # its expansion is a layer
        update["hidden_channels"] = len(hidden.kept)
    return block.model_copy(update=update)


def _find_module(model: QuantizedNetwork, name: str) -> nn.Module | None:
    return dict(model.named_modules()).get(name)


def _unique(channels: Iterable[_Channels]) -> list[_Channels]:
    """In the order they are made: what others depend on comes first."""
    found: dict[int, _Channels] = {}
    for item in channels:
        if item.of is not None:
            found.setdefault(id(item.of), item.of)
        found.setdefault(id(item), item)
    return list(found.values())
