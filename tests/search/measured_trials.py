"""Complete trials of one small network, with the metrics that a test asks for."""

from __future__ import annotations

from search.study_report import TrialReport
from spaces.architecture import ArchitectureConfig, GlobalPool, InputQuantizer, Linear
from spaces.search_space import Design, TrainingSettings


def small_design(weight_bit_width: int = 4) -> Design:
    """One linear layer behind a global pool."""
    linear = Linear(out_features=24, weight_bit_width=weight_bit_width)
    architecture = ArchitectureConfig(blocks=(InputQuantizer(), GlobalPool(), linear))
    return Design(architecture=architecture, training=TrainingSettings(epochs=1))


def measured_trial(number: int, accuracy: float, inference_cost: float, weight_bit_width: int = 4) -> TrialReport:
    """A trial of this number with these metrics."""
    design = small_design(weight_bit_width)
    return TrialReport(number, accuracy, inference_cost, 1e6, 1e4, 1000, 5, design.architecture_id, design)
