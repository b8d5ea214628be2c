"""Fixtures: exported networks, FINN's real environment, a worker with a queue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from fpga.run import BuildWorker
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import ensure_finn_environment
from spaces.architecture import ArchitectureConfig
from storage.artifacts import ArtifactStore
from storage.builds import queue_build
from storage.database import Database, open_database
from storage.leases import make_lease_owner
from storage.records import Build, BuildRequest, BuildTarget
from tests.fpga.exported_networks import (
    NETWORKS,
    ZCU111,
    BuiltNetwork,
    build_exported,
    export_tiny_network,
    export_trained_network,
)

Queue = Callable[..., Build]


@pytest.fixture(scope="session")
def finn() -> Finn:
    """The FINN of the user's environment, made here when it is missing."""
    return ensure_finn_environment()


@pytest.fixture(scope="session")
def export_network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a network's model.onnx and proof.npz, each network trained once per session."""
    folders: dict[str, Path] = {}

    def export(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            export_trained_network(ArchitectureConfig(blocks=NETWORKS[name]), folders[name])
        return folders[name]

    return export


@pytest.fixture(scope="session")
def build_network(
    export_network: Callable[[str], Path], finn: Finn, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], BuiltNetwork]:
    """A network of NETWORKS, exported and built for ZCU111 up to code generation, once per session."""
    built: dict[str, BuiltNetwork] = {}

    def build(name: str) -> BuiltNetwork:
        if name not in built:
            exported, folder = export_network(name), tmp_path_factory.mktemp(f"build_{name}")
            output = build_exported(finn, exported, folder)
            built[name] = BuiltNetwork(exported, folder, output)
        return built[name]

    return build


@pytest.fixture(scope="session")
def export_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The folder of model.onnx and proof.npz of the tiny network of this seed, each exported once per session."""
    folders: dict[int, Path] = {}

    def export(seed: int) -> Path:
        if seed not in folders:
            folders[seed] = tmp_path_factory.mktemp("tiny")
            export_tiny_network(folders[seed], seed)
        return folders[seed]

    return export


@pytest.fixture
def queue_tiny(database: Database, export_tiny: Callable[[int], Path]) -> Queue:
    """Queues a build of a tiny network, as a promotion does: seconds for FINN."""

    def queue(
        store: ArtifactStore,
        seed: int = 0,
        *,
        study_name: str = "study",
        trial_number: int = 0,
        target: BuildTarget = ZCU111,
        timeout_s: int = 300,
    ) -> Build:
        folder = store.make_evaluation_folder(study_name, trial_number, "0123abcd")
        for file in ("model.onnx", "proof.npz"):
            shutil.copy(export_tiny(seed) / file, folder / file)
        return queue_build(
            database,
            BuildRequest(
                study_name=study_name,
                trial_number=trial_number,
                model=store.relative(folder / "model.onnx"),
                reference_vectors=store.relative(folder / "proof.npz"),
                target=target,
                timeout_s=timeout_s,
                is_below_threshold=False,
                test_accuracy=0.5,
            ),
        )

    return queue


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path}/studies.db")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def events() -> list[str]:
    """What the worker said."""
    return []


@pytest.fixture
def worker(database: Database, store: ArtifactStore, finn: Finn, events: list[str]) -> BuildWorker:
    return BuildWorker(database, store, finn, make_lease_owner(), Event(), events.append)


@pytest.fixture
def queue_network(database: Database, store: ArtifactStore, export_network: Callable[[str], Path]) -> Queue:
    """Queues a build of one of NETWORKS, as a promotion does."""

    def queue(name: str, *, trial_number: int = 0, target: BuildTarget = ZCU111, timeout_s: int = 600) -> Build:
        folder = store.make_evaluation_folder("study", trial_number, "0123abcd")
        for file in ("model.onnx", "proof.npz"):
            shutil.copy(export_network(name) / file, folder / file)
        return queue_build(
            database,
            BuildRequest(
                study_name="study",
                trial_number=trial_number,
                model=store.relative(folder / "model.onnx"),
                reference_vectors=store.relative(folder / "proof.npz"),
                target=target,
                timeout_s=timeout_s,
                is_below_threshold=False,
                test_accuracy=0.5,
            ),
        )

    return queue
