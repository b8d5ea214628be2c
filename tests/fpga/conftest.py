"""Fixtures: exported networks, FINN's real environment, a worker with a queue."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from filelock import FileLock

from fpga.estimate_worker import EstimateWorker
from fpga.finn_build import finn_output
from fpga.run import BuildWorker
from fpga.toolchain.finn import Finn
from fpga.toolchain.finn_environment import ensure_finn_environment
from fpga.toolchain.fork_server import EstimatorPythons, start_fork_servers
from fpga.toolchain.process_group import LEAST
from storage.artifacts import ArtifactStore
from storage.builds import queue_build
from storage.database import Database, open_database
from storage.leases import make_lease_owner
from storage.records import Build, BuildRequest, BuildTarget
from tests.fpga.exported_networks import (
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
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def export_network(shared_folder: Path) -> Callable[[str], Path]:
    """The folder of a network's model.onnx and proof.npz; each network is trained once per run."""

    def export(name: str) -> Path:
        return make_once(shared_folder / name, lambda folder: export_trained_network(name, folder))

    return export


@pytest.fixture(scope="session")
def build_network(
    export_network: Callable[[str], Path], finn: Finn, shared_folder: Path
) -> Callable[[str], BuiltNetwork]:
    """A network of NETWORKS, exported and built for ZCU111 up to code generation, once per run. Not to be changed."""

    def build(name: str) -> BuiltNetwork:
        exported = export_network(name)
        folder = make_once(shared_folder / f"build_{name}", lambda folder: build_exported(finn, exported, folder))
        return BuiltNetwork(exported, folder, finn_output(folder))

    return build


@pytest.fixture(scope="session")
def export_tiny(shared_folder: Path) -> Callable[[int], Path]:
    """The folder of model.onnx and proof.npz of the tiny network of this seed, each exported once per run."""

    def export(seed: int) -> Path:
        return make_once(shared_folder / f"tiny{seed}", lambda folder: export_tiny_network(folder, seed))

    return export


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, which the first process that asks for it makes; the others wait for that one."""
    made = folder.with_name(f"{folder.name}.made")
    with FileLock(folder.with_name(f"{folder.name}.lock"), fallback_to_soft=False):
        if not made.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # of a test that failed while making it
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="module")
def pythons(finn: Finn) -> Iterator[EstimatorPythons]:
    """As the estimate worker starts them, once for all tests of a file."""
    with start_fork_servers(finn, LEAST) as pythons:
        yield pythons


@pytest.fixture
def estimate_worker(
    database: Database, store: ArtifactStore, pythons: EstimatorPythons, events: list[str]
) -> EstimateWorker:
    return EstimateWorker(database, store, pythons, make_lease_owner(), Event(), events.append)


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
                stage=0,
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
                stage=0,
                model=store.relative(folder / "model.onnx"),
                reference_vectors=store.relative(folder / "proof.npz"),
                target=target,
                timeout_s=timeout_s,
                is_below_threshold=False,
                test_accuracy=0.5,
            ),
        )

    return queue
