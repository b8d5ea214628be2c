"""FINN's estimates for the trials of one run: requested once per architecture, then looked up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from spaces.architecture import ArchitectureConfig
from spaces.study_config import StudyConfig
from storage.database import Database
from storage.estimates import load_estimates, make_estimate_key, request_estimate
from storage.records import BuildTarget, Estimate, EstimateState

LASTING = (EstimateState.ESTIMATED, EstimateState.UNBUILDABLE)
"""An estimate in one of these states is final."""

PENDING = (EstimateState.QUEUED, EstimateState.RUNNING)


def study_target(config: StudyConfig) -> BuildTarget:
    """The hardware for which the study builds and estimates."""
    fpga = config.fpga
    return BuildTarget(fpga.board, fpga.clk_period_ns, fpga.target_fps, fpga.output)


def describe_unpruned(config: StudyConfig) -> str | None:
    """What the study's pruning cannot lower, in one line; None where it has no such stage or no hardware metric.

    FINN's estimate is of layers and bit widths: a weight that is zero takes as much as any other.
    """
    metrics = (*config.objectives.metrics, *config.constraints.metrics)
    names = [metric.label for metric in metrics if metric.is_hardware]
    stages = [(i, stage.kind) for i, stage in enumerate(config.pruning.stages) if stage.kind != "structured"]
    if not names or not stages:
        return None
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    index, kind = stages[0]
    return (
        f"pruning.stages[{index}] is of kind {kind}: zero weights do not lower {listed} of FINN's estimate; "
        "kind structured does, which removes channels"
    )


class HardwareEstimates:
    """The estimates of one run. Another process makes them, and the database keeps them for all studies."""

    def __init__(self, database: Database, config: StudyConfig) -> None:
        self._database, self._timeout_s = database, config.fpga.timeout_s
        self._target = study_target(config)
        self._was_there: dict[str, bool] = {}

    def request(self, architecture: ArchitectureConfig) -> Estimate:
        """Queues the architecture's estimate unless it exists, and returns it as it is now."""
        estimate = request_estimate(self._database, architecture, self._target, self._timeout_s)
        self._was_there.setdefault(estimate.key, estimate.state in LASTING)
        return estimate

    def look_up(self, waiting: Mapping[int, Sequence[ArchitectureConfig]]) -> dict[int, list[Estimate]]:
        """The trials all of whose estimates have ended, by number; `waiting` has the architectures of each trial."""
        keys = {
            number: [make_estimate_key(one, self._target) for one in several] for number, several in waiting.items()
        }
        ended = self._load_ended({key for several in keys.values() for key in several}) if keys else {}
        return {
            number: [ended[key] for key in several]
            for number, several in keys.items()
            if all(key in ended for key in several)
        }

    def count(self) -> tuple[int, int]:
        """How many estimates this run had made, and how many existed before."""
        asked = [key for key, was_there in self._was_there.items() if not was_there]
        n_made = sum(estimate.state in LASTING for estimate in load_estimates(self._database, asked).values())
        return n_made, len(self._was_there) - len(asked)

    def describe(self) -> str:
        """The counts as one line."""
        n_made, n_before = self.count()
        return f"estimates: {n_made} made, {n_before} from earlier"

    def _load_ended(self, keys: Collection[str]) -> dict[str, Estimate]:
        estimates = load_estimates(self._database, keys)
        return {key: estimate for key, estimate in estimates.items() if estimate.state not in PENDING}
