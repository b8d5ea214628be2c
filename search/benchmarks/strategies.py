"""How much training search strategies need: `python -m search.strategy_benchmark record` and `replay`.

Strategies are replayed on a table of designs that are all trained once. Each gets the same training and the same
ladder of cost targets, and is told the logarithm of the cost. The peers' trial is a design with one target and gives
one point, as it does there; ours is a design with all targets. So that it is seen what is due to that alone, the peers'
samplers are also replayed with trials such as ours. What counts is the hypervolume over the epochs that were trained.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from search.benchmarks.pictures import MISSING, can_draw
from search.benchmarks.recorded_designs import (
    TABLE,
    Measurement,
    Params,
    RecordedDesign,
    list_choices,
    list_designs,
    read_table,
    record_designs,
    recorded_study,
)
from search.benchmarks.strategy_curves import (
    REFERENCE,
    Trace,
    find_best,
    find_section,
    format_table,
    measure_curve,
    plot,
    write_section,
)
from search.strategy.choosing import LEAST_TRIALS, REFERENCE_FACTOR, list_known_costs
from search.strategy.early_stopping import goes_on
from search.strategy.surrogate import AccuracyModel, Encoder, Point, expect_gains
from storage.command_options import parse_count
from storage.commands import make_parser
from storage.records import RungResult

TARGET = "target"
"""The peers' parameter: after which stage their trial ends."""

KNOWN_DESIGN = {
    "space.blocks[1].out_channels": 24,
    "space.blocks[1].kernel_size": 27,
    "space.blocks[1].stride": 4,
    "space.blocks[2].activation_bit_width": 4,
    "space.blocks[3].out_channels": 48,
    "space.blocks[3].weight_bit_width": 4,
}
"""The member of the space that is most like the small network found by hand."""


FIRST_EPOCHS = 20
"""Where the curves begin."""

MAX_REPEATED = 5
"""After so many suggestions in a row that were trained before, one that was not is drawn at random."""


class Table:
    """The recorded designs by their values."""

    def __init__(self, designs: Sequence[RecordedDesign]) -> None:
        self.choices = list_choices(recorded_study())
        self.designs = {self._key(design.params): design for design in designs}
        self.n_points = len(designs[0].points)
        self.costs = {self._key(params): list_known_costs(design) for params, design in list_designs(recorded_study())}
        """Of all points of a design, as they are known before it is trained."""

    def find(self, params: Mapping[str, Any]) -> RecordedDesign:
        """The design with these values."""
        return self.designs[self._key(params)]

    def find_costs(self, params: Mapping[str, Any]) -> tuple[float, ...]:
        """The costs of this design's points before it is trained."""
        return self.costs[self._key(params)]

    def draw(self, generator: random.Random) -> Params:
        """A design at random."""
        return {name: generator.choice(several) for name, several in self.choices.items()}

    def _key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(params[name] for name in self.choices)


Strategy = Callable[[Table, int, int], Trace]
"""Table, epochs to train, and seed."""


def run_optuna(
    sampler: Callable[[int], BaseSampler], table: Table, budget: int, seed: int, *, starts_warm: bool = False
) -> Trace:
    """Each suggestion is trained to its target, and gives one point. One that was trained before costs nothing."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler(seed))
    trace, trained, generator = Trace(), set[tuple[int, int]](), random.Random(seed)
    n_repeated = 0
    if starts_warm:
        study.enqueue_trial(KNOWN_DESIGN)
    while trace.epochs < budget:
        if n_repeated >= MAX_REPEATED:
            study.enqueue_trial({**table.draw(generator), TARGET: generator.randrange(table.n_points)})
        trial = study.ask()
        params = {name: trial.suggest_categorical(name, several) for name, several in table.choices.items()}
        design, target = table.find(params), trial.suggest_categorical(TARGET, range(table.n_points))
        point, training = design.points[target], (id(design), target)
        n_repeated = n_repeated + 1 if training in trained else 0
        if training not in trained:
            trained.add(training)
            trace.epochs += point.epoch
            trace.add(point.accuracy, point.inference_cost)
        study.tell(trial, [point.accuracy, math.log10(point.inference_cost)])
    return trace


def run_moasha(table: Table, budget: int, seed: int) -> Trace:
    """Syne Tune's MO-ASHA with its defaults, and rungs at 3 and 9 of at most 14 epochs: the factor is 3.

    A trial that was trained to its end before costs nothing, as with all strategies here.
    """
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    np.random.seed(seed)  # its configurations are drawn from there
    space = {name: choice(list(several)) for name, several in table.choices.items()}
    scheduler = MOASHA(
        {**space, TARGET: choice(list(range(table.n_points)))}, ["error", "cost"], time_attr="epoch", max_t=14,
        grace_period=3, random_seed=seed,
    )  # fmt: skip
    trace, trained = Trace(), set[tuple[int, int]]()
    for number in range(10**6):
        if trace.epochs >= budget:
            break
        config = scheduler.suggest().config
        trial = Trial(number, config, None)
        scheduler.on_trial_add(trial)
        design = table.find(config)
        end = design.points[config[TARGET]].epoch
        if (id(design), end) in trained:
            continue
        before = 0
        for one in design.measurements:
            if one.epoch > end:
                break
            trace.epochs += one.epoch - before
            before = one.epoch
            result = {"epoch": one.epoch, "error": 1 - one.accuracy, "cost": math.log10(one.inference_cost)}
            if one.epoch == end:
                trace.add(one.accuracy, one.inference_cost)
                trained.add((id(design), end))
                scheduler.on_trial_complete(trial, result)
            elif scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
                trace.add(one.accuracy, one.inference_cost)  # the network as it is there
                break
    return trace


@dataclass(frozen=True)
class Ours:
    """This project's search; each part can be left out."""

    stops: bool = True
    """Successive halving at a third and two thirds of a trial."""
    chooses: bool = True
    """Of many draws the one is trained that the surrogate expects most of; else TPE's own draw."""
    starts_warm: bool = True
    """The first trial is the design that is known to be good."""
    sampler: Callable[[int], BaseSampler] = lambda seed: TPESampler(seed=seed)
    """Of the trials that are not chosen."""

    def __call__(self, table: Table, budget: int, seed: int) -> Trace:
        run = _OurRun(self, table, seed)
        while run.trace.epochs < budget and len(run.trained) < len(table.designs):
            run.train_next()
        return run.trace


RUNG_EPOCHS = (5, 9)
KEPT = 0.5


class _OurRun:
    def __init__(self, parts: Ours, table: Table, seed: int) -> None:
        self.parts, self.table, self.trace = parts, table, Trace()
        self.generator, self.seed = random.Random(seed), seed
        self.study = optuna.create_study(directions=["maximize", "minimize"], sampler=parts.sampler(seed))
        distributions = {name: CategoricalDistribution(several) for name, several in table.choices.items()}
        self.encoder = Encoder(distributions)
        self.rungs: dict[int, list[RungResult]] = {epoch: [] for epoch in RUNG_EPOCHS}
        self.points: list[Point] = []
        self.trained: set[int] = set()
        self.n_repeated = 0

    def suggest(self) -> optuna.Trial:
        n_asked = len(self.study.trials)
        if n_asked == 0 and self.parts.starts_warm:
            self.study.enqueue_trial(KNOWN_DESIGN)
        elif self.parts.chooses and n_asked >= LEAST_TRIALS:
            self.study.enqueue_trial(self.choose())
        elif self.n_repeated >= MAX_REPEATED:
            self.study.enqueue_trial(dict(self.generator.choice(self.list_left()).params))
        return self.study.ask()

    def list_left(self) -> list[RecordedDesign]:
        """The designs that were not trained yet; all where none is left."""
        designs = list(self.table.designs.values())
        return [design for design in designs if id(design) not in self.trained] or designs

    def choose(self) -> dict[str, Any]:
        """Of all designs that were not trained yet the most promising: a space of 216 needs no draws."""
        left = self.list_left()
        model = AccuracyModel(self.points, self.seed)
        rows = [self.encoder.encode(design.params) for design in left]
        costs = [self.table.find_costs(design.params) for design in left]
        highest = REFERENCE_FACTOR * max(point.inference_cost for point in self.points)
        gains = expect_gains(model, rows, costs, self.trace.points, (REFERENCE[0], highest))
        return dict(left[int(np.argmax(gains))].params)

    def train_next(self) -> None:
        """One trial up to where it is stopped."""
        trial, choices = self.suggest(), self.table.choices
        design = self.table.find({name: trial.suggest_categorical(name, several) for name, several in choices.items()})
        is_new = id(design) not in self.trained
        self.n_repeated = 0 if is_new else self.n_repeated + 1
        self.trained.add(id(design))
        if is_new:
            self.climb(trial, design)
        else:  # a design that was trained before is answered from the record
            self.tell(trial, design)

    def climb(self, trial: optuna.Trial, design: RecordedDesign) -> None:
        """Trains to the rung where the trial is stopped, or to its end."""
        before = 0
        for one in design.measurements:
            self.trace.epochs += one.epoch - before
            before = one.epoch
            if one.stage is not None:
                self.trace.add(one.accuracy, one.inference_cost)
                row = self.encoder.encode(design.params)
                self.points.append(Point(row, one.inference_cost, one.accuracy))
            if self.parts.stops and one.epoch in self.rungs and not self.goes_on(trial, one):
                self.study.tell(trial, state=TrialState.PRUNED)
                return
        self.tell(trial, design)

    def goes_on(self, trial: optuna.Trial, at: Measurement) -> bool:
        """Whether the trial is among the best that reached this rung so far."""
        own, others = RungResult("", trial.number, 0, at.epoch, at.accuracy, at.inference_cost), self.rungs[at.epoch]
        decided = goes_on(own, others, KEPT)
        others.append(own)
        return decided

    def tell(self, trial: optuna.Trial, design: RecordedDesign) -> None:
        """The values of the last point."""
        last = design.points[-1]
        self.study.tell(trial, [last.accuracy, math.log10(last.inference_cost)])


WARM_PEER = "Optuna TPE, warm start"
"""It is told what ours is told at its start."""

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "Optuna TPE": lambda seed: TPESampler(seed=seed),
    # The default of 50 would leave its first generation, which is random, when the training is nearly over.
    "Optuna NSGA-II": lambda seed: NSGAIISampler(seed=seed, population_size=10),
}

PEERS: Mapping[str, Strategy] = {
    **{name: partial(run_optuna, sampler) for name, sampler in SAMPLERS.items()},
    "Syne Tune MO-ASHA": run_moasha,
    WARM_PEER: partial(run_optuna, SAMPLERS["Optuna TPE"], starts_warm=True),
}

ALL_POINTS: Mapping[str, Strategy] = {
    f"{name}, all points": Ours(stops=False, chooses=False, starts_warm=False, sampler=sampler)
    for name, sampler in SAMPLERS.items()
}
"""Peers whose trials are pruned to all targets and give all points, as ours: what is left is due to the search."""

OURS: Mapping[str, Strategy] = {
    "ours: stopping alone": Ours(chooses=False, starts_warm=False),
    "ours: choosing alone": Ours(stops=False, starts_warm=False),
    "ours: choosing and stopping": Ours(starts_warm=False),
    "ours: with a warm start, too": Ours(),
}

STRATEGIES: Mapping[str, Strategy] = {**PEERS, **ALL_POINTS, **OURS}

SHOWN = [*PEERS, "Optuna TPE, all points", "ours: choosing and stopping"]
"""In the plot."""


def replay(name: str, table: Table, budget: int, n_seeds: int, at: Sequence[int]) -> list[list[float]]:
    """The curves of a strategy, one for each seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    strategy = STRATEGIES[name]
    return [measure_curve(strategy(table, budget, seed), at) for seed in range(n_seeds)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    args = _parse_arguments(arguments)
    if args.action == "record":
        record_designs(recorded_study(), args.folder, args.processes, _say)
        return 0
    try:
        _check_can_write(args)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    designs = read_table() if TABLE.is_file() else []
    n_designs = sum(1 for _ in list_designs(recorded_study()))
    if len(designs) < n_designs:
        print(f"{TABLE} has {len(designs)} designs; expected {n_designs}: run `record` first", file=sys.stderr)
        return 2
    table = Table(designs)
    at = list(range(FIRST_EPOCHS, args.budget + 1, 10))
    with ProcessPoolExecutor(args.processes) as pool:
        names = list(STRATEGIES)
        curves = dict(zip(names, pool.map(partial(_replay, table, args.budget, args.seeds, at), names), strict=True))
    opponents = (
        find_best(curves, [name for name in PEERS if name != WARM_PEER]),
        WARM_PEER,
        find_best(curves, ALL_POINTS),
    )
    text = format_table(curves, at, opponents)
    print(text)
    if args.write:
        plot({name: curves[name] for name in SHOWN}, at, {*PEERS, *ALL_POINTS}, opponents[0])
        write_section(text)
    return 0


def _replay(table: Table, budget: int, n_seeds: int, at: Sequence[int], name: str) -> list[list[float]]:
    return replay(name, table, budget, n_seeds, at)


def _check_can_write(args: argparse.Namespace) -> None:
    """Before the work, not after it; raises ValueError."""
    if not args.write:
        return
    if not can_draw():
        raise ValueError(MISSING)
    find_section()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.strategy_benchmark", description="How much training search strategies need."
    )
    parser.add_argument("action", choices=["record", "replay"])
    parser.add_argument("--seeds", type=parse_count, default=20, help="of replay; default 20")
    parser.add_argument("--budget", type=parse_count, default=800, help="epochs that each strategy trains; default 800")
    parser.add_argument("--processes", type=parse_count, default=2, help="at once, of one thread each; default 2")
    parser.add_argument("--write", action="store_true", help="of replay: also the plot and the table in the README")
    parser.add_argument("--folder", type=Path, default=Path("runs/recorded_designs"), help="where trainings lie")
    args = parser.parse_args(arguments)
    if args.budget < FIRST_EPOCHS:
        parser.error(f"--budget is {args.budget}; expected at least {FIRST_EPOCHS}")
    return args
