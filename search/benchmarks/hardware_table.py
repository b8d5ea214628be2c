"""The table of hardware metrics: seven networks trained, exported, built and printed by one command."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from search.processes.local_services import Service
from search.study_data import open_dataset, study_split
from spaces.architecture import ArchitectureConfig
from spaces.blocks import InputQuantizer
from spaces.known_designs import bacalhaunet_network, vgg10_network
from spaces.study_config import StudyConfig, load_study_config
from storage.artifacts import ArtifactStore
from storage.builds import load_builds, queue_build
from storage.commands import make_parser, run_command
from storage.database import Database, open_database
from storage.dataset.frames import load_training_frames, load_validation_sample
from storage.hardware_reports import BuildReport
from storage.records import Build, BuildRequest, BuildTarget

STUDY_NAME = "hardware-table"

STUDY_FILE = Path(__file__).parents[2] / "spaces" / "dsc4.yaml"

N_REFERENCE_FRAMES = 200

SEEDS = (1, 2, 3)
"""Of the random members."""

ZCU111 = BuildTarget("ZCU111", clk_period_ns=5.0, target_fps=100_000)

ZCU104 = BuildTarget("ZCU104", clk_period_ns=4.0, target_fps=230_000)
"""What finn-examples publishes of its VGG10 for RadioML 2018.01A, w4a4, 32 filters: 230,000 frames/s at 250 MHz."""

PUBLISHED_FILTERS = 32
"""Of each convolution in that network; the challenge's VGG10 has 64."""

PUBLISHED_ROW = (
    "| VGG10 w4a4, 32 filters, finn-examples: 230,000 frames/s, measured | ZCU104, 250 MHz | | | | | | | | | |"
)

POLL_S = 2.0


@dataclass(frozen=True)
class ExampleNetwork:
    """One line of the table."""

    name: str
    architecture: ArchitectureConfig
    target: BuildTarget
    sparsity: float = 0.0
    """Fraction of each layer's weights that are zero."""


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m search.hardware_table`: prints the table. Exit code 1 where a build failed. Resumes."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = load_study_config(STUDY_FILE)
    store = ArtifactStore(args.folder / "artifacts")
    url = f"sqlite:///{args.folder.resolve()}/studies.db"
    args.folder.mkdir(parents=True, exist_ok=True)
    database = open_database(url)
    networks = list_networks(config)
    for number, network in enumerate(networks):
        queue_network(database, store, config, number, network, args.epochs)
    build_all(database, store, args.folder / "build-worker.log")
    builds = {build.trial_number: build for build in load_builds(database, STUDY_NAME)}  # the last of each
    print(describe_builds(networks, builds))
    return 0 if all(number in builds and builds[number].report for number in range(len(networks))) else 1


def build_all(database: Database, store: ArtifactStore, log: Path) -> None:
    """Builds what is queued, and waits for it."""
    options = ["--database", database.url, "--artifacts", str(store.root), "--drain"]
    worker = Service("build worker", ["fpga.run", *options], log)
    _print_progress(f"building; log: {log}")
    try:
        while worker.exit_code is None:
            time.sleep(POLL_S)
    finally:
        worker.stop()


def list_networks(config: StudyConfig) -> list[ExampleNetwork]:
    """BacalhauNet, VGG10, and random members of the study's space."""
    members = [
        ExampleNetwork(f"dsc4, random member {seed}, 80 % pruned", draw_member(config, seed), ZCU111, 0.8)
        for seed in SEEDS
    ]
    return [
        ExampleNetwork("BacalhauNet w6a6", bacalhaunet_network(6, linear=6), ZCU111),
        ExampleNetwork("VGG10 w4a4", vgg10_network(4, clip=2.0), ZCU104),
        *members,
        ExampleNetwork("VGG10 w8a8", vgg10_network(8, clip=2.0), ZCU104),
        ExampleNetwork("VGG10 w4a4, 32 filters", vgg10_network(4, PUBLISHED_FILTERS, clip=2.0), ZCU104),
    ]


def draw_member(config: StudyConfig, seed: int) -> ArchitectureConfig:
    """A network of the study's space, each choice drawn uniformly."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed), directions=["maximize", "minimize"])
    return config.search_space.suggest(study.ask()).architecture


def queue_network(
    database: Database, store: ArtifactStore, config: StudyConfig, number: int, network: ExampleNetwork, epochs: int
) -> Build:
    """Trains and exports the network unless that is done, and queues its build."""
    folder = store.make_evaluation_folder(STUDY_NAME, number, f"{network.architecture.architecture_id[:8]}-{epochs}")
    model, vectors = folder / "model.onnx", folder / "proof.npz"
    if not vectors.is_file():
        _print_progress(f"training {network.name}")
        _train_and_export(config, network, epochs, folder)
    return queue_build(
        database,
        BuildRequest(
            study_name=STUDY_NAME,
            trial_number=number,
            stage=0,
            model=store.relative(model),
            reference_vectors=store.relative(vectors),
            target=network.target,
            timeout_s=config.fpga.timeout_s,
            is_below_threshold=True,
            test_accuracy=None,
        ),
    )


def describe_builds(networks: Sequence[ExampleNetwork], builds: dict[int, Build]) -> str:
    """The table, in Markdown."""
    lines = [
        "| network | board, clock | asked, frames/s | estimated | latency, us | LUT, layers only | LUT | BRAM18 | DSP "
        "| LUT, DSP by ROTHE | frames with equal integers |",
        "| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | :-- |",
    ]
    for number, network in enumerate(networks):
        lines.append(_describe_build(network, builds.get(number)))
        if network.architecture == vgg10_network(4, PUBLISHED_FILTERS, clip=2.0):
            lines.append(PUBLISHED_ROW)
    return "\n".join(lines)


def _describe_build(network: ExampleNetwork, build: Build | None) -> str:
    target = network.target
    start = f"| {network.name} | {target.board}, {1e3 / target.clk_period_ns:.0f} MHz | {target.target_fps:,} |"
    report = None if build is None else build.report
    if report is None or report.connected is None or report.by_rothe is None:
        reason = "not built" if build is None else build.message or build.state.value
        return f"{start} {reason} | | | | | | | |"
    taken = " | ".join(_describe_taken(report, name) for name in ("lut", "bram_18k", "dsp"))
    equal = ", ".join(f"{agreement.graph} {agreement.n_scores_equal}" for agreement in report.agreements)
    return (
        f"{start} {report.throughput_fps:,.0f} | {report.latency_us:,.0f} | {report.lut:,} | {taken} | "
        f"{report.by_rothe.lut:,}, {report.by_rothe.dsp:,} | {equal} of {report.n_frames_verified} |"
    )


def _describe_taken(report: BuildReport, resource: str) -> str:
    """With width converters and FIFOs, and the share of the board; above 100 % the network does not fit."""
    taken = getattr(report.connected, resource)
    share = "" if report.available is None else f" ({taken / getattr(report.available, resource):.0%})"
    return f"{taken:,}{share}"


def _train_and_export(config: StudyConfig, network: ExampleNetwork, epochs: int, folder: Path) -> None:
    from search.benchmarks.pruned_network import train_pruned_network  # torch, which a finished table does not need
    from workers.qonnx_export import export_evaluation

    file = open_dataset(config)
    split = study_split(config, file)
    quantizer = network.architecture.blocks[0]
    assert isinstance(quantizer, InputQuantizer)  # list_networks makes no others
    frames = load_training_frames(file, split, config.dataset.min_training_snr_db, quantizer)
    weights = folder / "weights.safetensors"
    train_pruned_network(network.architecture, frames, network.sparsity, epochs, weights)
    export_evaluation(network.architecture, weights, load_validation_sample(file, split, N_REFERENCE_FRAMES), folder)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.hardware_table", description="Builds seven networks and prints their hardware metrics."
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/hardware_table"), metavar="DIR", help="where all lies (%(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=1, help="of training before pruning (%(default)s)")
    return parser.parse_args(arguments)


def _print_progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command(main)
