"""What a network is judged by before it goes to hardware: one training or several, and how sure their mean is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.measured_trials import MeasuredPoint
from spaces.study_config import PromotionPart
from storage.records import Replicate

CONFIDENCE = 0.95

Replicates = Mapping[tuple[int, int], Sequence[Replicate]]
"""Of the points of a study that were trained again, by their keys."""


@dataclass(frozen=True)
class Judgement:
    """The accuracies of one design, trained with one seed or several and measured on the same frames."""

    accuracies: tuple[float, ...]
    """On validation frames, the search's own training first; 0 to 1, higher is better."""
    n_frames: int
    n_failed: int = 0
    """Trainings with other seeds that failed."""

    @property
    def n_trainings(self) -> int:
        """Also those that failed."""
        return len(self.accuracies) + self.n_failed

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None for one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean accuracy on other frames of the same kind."""
        return find_interval(self.mean, self.n_frames)

    def passes(self, threshold: float, promotion: PromotionPart) -> bool:
        """Whether what the study's rule asks for reaches the threshold, and no training failed."""
        return not self.n_failed and (self.mean if promotion.rule == "mean" else self.interval[0]) >= threshold

    def __str__(self) -> str:
        low, high = self.interval
        spread = "" if self.deviation is None else f" ± {self.deviation:.2%} over {len(self.accuracies)} seeds"
        failed = "" if not self.n_failed else f"; {self.n_failed} more failed"
        return f"{self.mean:.2%}{spread} ({low:.2%} to {high:.2%}{failed})"


def judge(point: MeasuredPoint, replicates: Replicates) -> Judgement:
    """By its own training, and those with other seeds that there are."""
    others = [other.accuracy for other in replicates.get(point.key, ())]
    known = [accuracy for accuracy in others if accuracy is not None]
    return Judgement((point.accuracy, *known), point.evaluation.n_frames, len(others) - len(known))


def find_normal_interval(accuracy: float, n_frames: int) -> tuple[float, float]:
    """The same by the normal approximation, accuracy +- 1.96 standard errors, within 0 to 1."""
    error = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(accuracy * (1 - accuracy) / n_frames)
    return max(accuracy - error, 0.0), min(accuracy + error, 1.0)


def find_interval(accuracy: float, n_frames: int) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of a fraction that was counted on so many frames, both 0 to 1.

    Exact for a binomial count (Clopper, Pearson, "The use of confidence or fiducial limits", Biometrika 1934). Frames
    of different classes and SNRs differ, so it is a little too wide.
    """
    from scipy.special import betaincinv  # takes a quarter of a second, which most commands do not need

    tail = (1 - CONFIDENCE) / 2
    right = accuracy * n_frames
    wrong = n_frames - right
    low = 0.0 if right < 0.5 else float(betaincinv(right, wrong + 1, tail))
    high = 1.0 if wrong < 0.5 else float(betaincinv(right + 1, wrong, 1 - tail))
    return (0.0 if math.isnan(low) else low), (1.0 if math.isnan(high) else high)
