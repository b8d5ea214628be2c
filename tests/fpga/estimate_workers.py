"""Requests of estimates, an estimate worker in a process of its own, and what it left in its folders."""

from __future__ import annotations

import subprocess
import sys

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, GlobalPool, InputQuantizer
from storage.artifacts import ArtifactStore
from storage.database import Database
from storage.estimates import load_estimates, request_estimate
from storage.records import BuildTarget, Estimate
from tests.fpga.exported_networks import ZCU111, conv, linear
from tests.fpga.running_processes import find_users


def architecture(channels: int = 4, first: tuple[Block, ...] = (InputQuantizer(),)) -> ArchitectureConfig:
    blocks = (*first, conv(channels, stride=2), GlobalPool(), linear(24, 4))
    return ArchitectureConfig(blocks=blocks, frame_length=32)


def deep_architecture(channels: int) -> ArchitectureConfig:
    """Its estimate takes many seconds."""
    return architecture(channels, (InputQuantizer(), *[conv(32)] * 16))


def request(database: Database, channels: int = 4, target: BuildTarget = ZCU111, timeout_s: int = 300) -> str:
    return request_estimate(database, architecture(channels), target, timeout_s).key


def load(database: Database, key: str) -> Estimate:
    return load_estimates(database, [key])[key]


def start_worker(database: Database, store: ArtifactStore, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fpga.estimate_worker"]
    places = ["--storage", database.url, "--artifacts", str(store.root)]
    return subprocess.Popen([*command, *places, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def find_finn(store: ArtifactStore) -> list[int]:
    """What prints to FINN's log: the call, and behind a fork server its fork."""
    return find_users(store.root.glob("estimates/*/finn.log"))


def find_exports(store: ArtifactStore) -> list[int]:
    return find_users(store.root.glob("estimates/*/export.log"))


def has_finished_step(store: ArtifactStore) -> bool:
    """True within a second of the first: all steps of a tiny network take a few."""
    return any(store.root.glob("estimates/*/output/intermediate_models/step_*.onnx"))


def left_files(store: ArtifactStore) -> list[str]:
    return sorted(path.name for path in store.root.glob("estimates/*"))
