"""Complete trials of one small network, and their points, with the metrics that a test asks for."""

from __future__ import annotations

from search.measured_trials import MeasuredPoint, MeasuredTrial
from spaces.architecture import ArchitectureConfig
from spaces.blocks import GlobalPool, InputQuantizer, Linear
from spaces.search_space import Design, TrainingSettings
from storage.records import Cost, Evaluation


def small_design(weight_bit_width: int = 4) -> Design:
    """One linear layer behind a global pool."""
    linear = Linear(out_features=24, weight_bit_width=weight_bit_width)
    architecture = ArchitectureConfig(blocks=(InputQuantizer(), GlobalPool(), linear))
    return Design(architecture=architecture, training=TrainingSettings(epochs=1))


def measured_trial(number: int, *metrics: tuple[float, float], weight_bit_width: int = 4) -> MeasuredTrial:
    """A trial of this number, with accuracy and inference cost of each stage."""
    evaluations = tuple(_evaluation(number, stage, *of_stage) for stage, of_stage in enumerate(metrics))
    return MeasuredTrial(number, small_design(weight_bit_width), evaluations)


def measured_point(number: int, accuracy: float, inference_cost: float, weight_bit_width: int = 4) -> MeasuredPoint:
    """The one point of a trial of this number, with these metrics."""
    return measured_trial(number, (accuracy, inference_cost), weight_bit_width=weight_bit_width).last


def _evaluation(number: int, stage: int, accuracy: float, inference_cost: float) -> Evaluation:
    return Evaluation(
        study_name="small",
        trial_number=number,
        stage=stage,
        accuracy=accuracy,
        accuracy_by_snr={0: accuracy},
        n_frames=49_920,
        cost=Cost(bit_ops=1e6, weight_bits=1e4, inference_cost=inference_cost, parameters=1000),
        density={"blocks.2.linear": 1.0},
        epochs=5,
        seed=number,
        training_seconds=1.5,
        checkpoint=f"small/trials/{number:05d}/stage-{stage}.safetensors",
    )
