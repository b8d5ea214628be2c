"""What a study is, and what it would take on this machine, before anything starts: `search.run FILE --check`."""

from __future__ import annotations

import os
import random
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.progress import format_duration
from search.study import find_unreachable_target
from search.study_data import check_file, check_fits, find_data_file
from spaces.architecture import ArchitectureError, iterate_blocks
from spaces.counts import count_of
from spaces.search_space import Design, RandomTrial, find_most_frequent
from spaces.space_size import count_designs
from spaces.study_config import StudyConfig, load_study_config
from storage.byte_sizes import describe_bytes
from storage.dataset.radioml import inspect_radioml
from storage.dataset.split import prescribed_split
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.cached_twin import find_twin
from workers.inference_cost import count_cost, list_mac_layers

N_DRAWS = 200

N_TIMED = 3
"""Designs that are trained for a few steps: the cheapest, the middle and the dearest of the draws."""

FIXED_CHECKPOINT = 3
"""A trial's checkpoint has its weights and two moments of each."""


@dataclass(frozen=True)
class DataSize:
    """Of the study's frames."""

    n_training: int
    n_validation: int
    file: Path
    is_there: bool
    file_bytes: int
    """Of the data file; of a twin that is not made yet, what it will take."""
    stored_frames: int
    """Training frames of all SNRs and validation frames, which all workers share as codes of one byte."""
    frame_length: int


def print_check(study_file: Path, artifacts: Path, console: Console) -> int:
    """Prints it line by line, as it is found out. Raises ConfigError and DatasetError for what cannot be used."""
    config = load_study_config(study_file)
    for name, text in _describe(config, artifacts):
        console.print(f"{name + ':':<12} {text}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _describe(config: StudyConfig, artifacts: Path) -> Iterator[tuple[str, str]]:
    size = count_designs(config.search_space)
    continuous = f", times {count_of(size.n_continuous, 'range')} of fractions" if size.n_continuous else ""
    yield "space", f"{_round_count(size.combinations)}{continuous}"
    designs, reasons = draw_designs(config, N_DRAWS)
    share = f"{len(designs)} of {N_DRAWS} random draws can be built"
    yield "draws", share + (f"; the most frequent reason why not: {find_most_frequent(reasons)}" if reasons else "")
    if not designs:
        return
    costs = sorted(map(_dense_cost, designs))
    yield "dense cost", f"{costs[0]:.4f} to {costs[-1]:.4f}, half of the draws below {statistics.median(costs):.4f}"
    yield "frames/s", _describe_throughput(config, designs)
    data = measure_data(config)
    yield "data", _describe_data(data)
    yield from _describe_effort(config, designs, data, artifacts)


def draw_designs(config: StudyConfig, n_draws: int) -> tuple[list[Design], list[str]]:
    """Random designs of the study, and for each draw that cannot be built the reason."""
    designs: list[Design] = []
    reasons: list[str] = []
    for number in range(n_draws):
        try:
            design = config.search_space.suggest(RandomTrial(random.Random(number)))
        except ArchitectureError as error:
            reasons.append(str(error))
            continue
        reason = find_unreachable_target(design)
        if reason is None:
            designs.append(design)
        else:
            reasons.append(reason)
    return designs, reasons


def measure_data(config: StudyConfig) -> DataSize:
    """From the data file where it is there, else from what the twin will have. Raises DatasetError."""
    given, twin = find_data_file(config), config.dataset.twin
    path = given or find_twin(twin.frames_per_cell, twin.seed, twin.profile)
    if given is not None or path.exists():
        file = inspect_radioml(path)
        check_file(config, file)
        shape = (file.n_classes, file.snrs_db, file.frames_per_cell, file.frame_length)
        return _size(config, path, shape, is_there=True)
    signals = SIGNAL_SETS[twin.profile]
    check_fits(config.space, len(signals.class_names), signals.frame_length, f"the profile {twin.profile} has it")
    shape = (len(signals.class_names), signals.snrs_db, twin.frames_per_cell, signals.frame_length)
    return _size(config, path, shape, is_there=False)


def _size(config: StudyConfig, path: Path, shape: tuple[int, Sequence[int], int, int], *, is_there: bool) -> DataSize:
    n_classes, snrs_db, frames_per_cell, frame_length = shape
    dataset = config.dataset
    split = prescribed_split(
        n_classes, len(snrs_db), frames_per_cell, dataset.validation_fraction, dataset.frames_per_cell
    )
    used = sum(snr >= dataset.min_training_snr_db for snr in snrs_db) / len(snrs_db)  # cells have equal sizes
    n_frames = n_classes * len(snrs_db) * frames_per_cell
    return DataSize(
        n_training=round(used * len(split.train)),
        n_validation=len(split.validation),
        file=path,
        is_there=is_there,
        file_bytes=path.stat().st_size if is_there else 8 * n_frames * frame_length,
        stored_frames=len(split.train) + len(split.validation),
        frame_length=frame_length,
    )


def _describe_data(data: DataSize) -> str:
    frames = f"{data.n_training:,} training frames, {data.n_validation:,} validation frames"
    if data.is_there:
        return f"{frames}; {data.file}"
    return f"{frames}; the twin is made first, {describe_bytes(data.file_bytes)} at {data.file}"


def _describe_throughput(config: StudyConfig, designs: Sequence[Design]) -> str:
    """FINN's layers take one sample or position a clock cycle at most, so the longest one bounds the frames/s."""
    longest = [_find_longest(design) for design in designs]
    fastest, slowest = (1e9 / config.fpga.clk_period_ns / n for n in (min(longest), max(longest)))
    reach = f"{fastest:,.0f}" if fastest == slowest else f"{slowest:,.0f} to {fastest:,.0f}"
    text = f"at most {reach} at a clock of {config.fpga.clk_period_ns:g} ns: a layer takes one position per cycle"
    if config.fpga.target_fps > fastest:
        text += f"; fpga.target_fps is {config.fpga.target_fps:,}, which none reaches"
    return text


def _find_longest(design: Design) -> int:
    return max(max(shape.in_length, shape.out_length) for _, _, shape in iterate_blocks(design.architecture))


def _describe_effort(
    config: StudyConfig, designs: Sequence[Design], data: DataSize, artifacts: Path
) -> Iterator[tuple[str, str]]:
    from workers.time_probe import measure_speed  # imports torch, which a space that cannot be built needs not

    n_threads = max(1, int(config.workers.cpus_per_trial))
    by_cost = sorted(designs, key=_dense_cost)
    timed = [by_cost[round(index * (len(by_cost) - 1) / (N_TIMED - 1))] for index in range(N_TIMED)]
    speeds = {design: measure_speed(design, n_threads) for design in timed}
    seconds = sorted(
        data.n_training * design.n_epochs / speed.training_fps
        + data.n_validation * _count_measurements(design) / speed.evaluation_fps
        for design, speed in speeds.items()
    )
    n_trials = config.budget.trials
    at_once = max(1, int((os.cpu_count() or 1) / config.workers.cpus_per_trial))
    at_once = min(at_once, n_trials, config.workers.max_concurrent or at_once)
    total = statistics.median(seconds) * n_trials / at_once
    span = f"{format_duration(seconds[0])} to {format_duration(seconds[-1])}"
    paths = sorted({str(speed.path) for speed in speeds.values()})
    gpu = "; on a CPU, for no GPU is measured" if config.workers.gpus_per_trial else ""
    yield "a trial", f"{span} of training, {' or '.join(paths)} path, on {count_of(n_threads, 'thread')}{gpu}"
    limit = config.budget.wall_clock_minutes
    stopped = "" if limit is None else f"; a run stops after {format_duration(60 * limit)}"
    yield "the budget", f"{format_duration(total)} for {count_of(n_trials, 'trial')}, {at_once} at once{stopped}"
    weights = max(speed.weight_bytes for speed in speeds.values())
    n_files = max(1 + len(design.stages) for design in timed) + FIXED_CHECKPOINT
    process = max(speed.process_bytes for speed in speeds.values())
    codes = 2 * data.stored_frames * data.frame_length
    memory = f"{describe_bytes(at_once * process)} for {count_of(at_once, 'trial')} at once, "
    yield "memory", memory + f"and {describe_bytes(codes)} of frames that they share"
    needed = n_trials * n_files * weights + codes + (0 if data.is_there else data.file_bytes)
    folder = _existing_parent(artifacts)
    free = shutil.disk_usage(folder).free
    warning = "" if free > needed else ", which is too little"
    yield "disk", f"{describe_bytes(needed)}, {describe_bytes(free)} are free at {folder.resolve()}{warning}"


def _count_measurements(design: Design) -> int:
    """On all validation frames: at the end of each stage, and with a plateau after each epoch."""
    return 1 + len(design.stages) + (design.n_epochs if design.training.schedule == "plateau" else 0)


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path, *path.resolve().parents) if parent.exists())


def _dense_cost(design: Design) -> float:
    layers = [layer.name for layer in list_mac_layers(design.architecture)]
    return count_cost(design.architecture, dict.fromkeys(layers, 1.0)).inference_cost


def _round_count(number: int) -> str:
    if number < 10**6:
        return count_of(number, "combination")
    return f"about {number / 10 ** (len(str(number)) - 1):.1f}e{len(str(number)) - 1} combinations"
