"""What a pruning stage begins with: a network, what keeps its removed weights at zero, and how more are removed."""

from __future__ import annotations

from dataclasses import dataclass

from torch.optim import Optimizer

from spaces.pruning_stages import CostAwareStage, MagnitudeStage, PruningStage, StructuredStage, ThresholdStage
from workers.channel_pruning import remove_channels
from workers.inference_cost import count_cost, list_marginal_costs
from workers.model import Network, measure_density
from workers.pruning import (
    Criterion,
    Pruner,
    Pruning,
    keep_from_epsilon,
    keep_from_relative_epsilon,
    keep_largest,
    keep_largest_of_each_layer,
    keep_largest_to_cost,
    keep_most_salient_to_cost,
    list_kept,
)
from workers.training import Ramp


@dataclass(frozen=True)
class StageStart:
    """The network with which a stage's training begins."""

    network: Network
    pruner: Pruner | None
    """None in the training proper."""
    ramp: Ramp | None
    """How the pruner goes on while the network trains; None where all is removed."""


def start_stage(network: Network, stage: PruningStage, optimizer: Optimizer | None) -> StageStart:
    """Removes what the stage removes at its start; weights that are zero stay zero.

    `optimizer` is the one that trained the network, for its gradients' second moments. A gradual stage without
    training removes all at once. Where the target is above the network's cost, no
    weight that counts is removed.
    """
    if isinstance(stage, StructuredStage):
        smaller = remove_channels(network, stage)
        return StageStart(smaller, Pruner(smaller.model, list_kept(smaller.model)), None)
    criterion = _choose_criterion(stage)
    pruner = Pruner(network.model, list_kept(network.model), criterion, list_marginal_costs(network.architecture))
    if isinstance(stage, ThresholdStage):
        pruner.prune(Pruning(stage.epsilon), optimizer)
        return StageStart(network, pruner, None)
    if stage.inference_cost is None:
        assert isinstance(stage, MagnitudeStage)
        assert stage.fraction is not None
        pruner.prune(Pruning(stage.fraction), optimizer)
        return StageStart(network, pruner, None)
    target = stage.inference_cost
    if stage.is_gradual and stage.epochs:
        cost = count_cost(network.architecture, measure_density(network.model)).inference_cost
        return StageStart(network, pruner, Ramp(max(cost, target), target))
    pruner.prune(Pruning(target, is_last=not stage.epochs), optimizer)
    return StageStart(network, pruner, Ramp(target, target))


def _choose_criterion(stage: ThresholdStage | MagnitudeStage | CostAwareStage) -> Criterion:
    match stage:
        case ThresholdStage():
            return keep_from_epsilon if stage.scope == "network" else keep_from_relative_epsilon
        case CostAwareStage():
            return keep_most_salient_to_cost
        case MagnitudeStage(fraction=None):
            return keep_largest_to_cost
    return keep_largest if stage.scope == "network" else keep_largest_of_each_layer
