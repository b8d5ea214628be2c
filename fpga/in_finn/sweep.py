"""One streamlined network, folded for several throughputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

from qonnx.core.modelwrapper import ModelWrapper

from .estimates import estimate_network
from .folding import fold_for_target
from .network_report import SweptFolding


def sweep_foldings(
    model: ModelWrapper,
    targets_fps: Sequence[int],
    clk_period_ns: float,
    part: str,
    finish: Callable[[ModelWrapper], ModelWrapper],
) -> list[SweptFolding]:
    """Per target what `estimate_network` says of the smallest folding that reaches it, or comes nearest.

    `model` has specialized layers; `finish` is what a build does between folding and estimate.
    """
    foldings = []
    for target_fps in targets_fps:
        folded = finish(fold_for_target(deepcopy(model), target_fps, clk_period_ns, part))
        foldings.append(SweptFolding(target_fps, estimate_network(folded, part, clk_period_ns)))
    return foldings
