"""Trained networks that the repository holds: `load_network(NAME)` gives one, `list_entries()` says which there are.

Each is three files in `spaces/zoo`: what it is and how good, its weights, and its QONNX file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

import spaces
from spaces.architecture import ArchitectureConfig
from storage.artifacts import write_bytes_atomically, write_text_atomically
from workers.checkpoint import load_weights
from workers.model import Network, build_model

ZOO = Path(spaces.__file__).parent / "zoo"


@dataclass(frozen=True)
class ZooBuild:
    """FINN's estimates of the network on an FPGA, with FIFOs and width converters; the build's outputs were equal."""

    board: str
    clk_period_ns: float
    lut: int
    bram_18k: int
    dsp: int
    throughput_fps: float
    latency_us: float


@dataclass(frozen=True)
class ZooEntry:
    """What a network is, and how good."""

    description: str
    architecture: ArchitectureConfig
    inference_cost: float
    """Of these weights, zeros discounted."""
    profile: str
    """Of the twin that it was trained on."""
    frames_per_cell: int
    twin_seed: int
    accuracy: float
    """On the test frames of that twin, 0 to 1."""
    fresh_accuracy: float
    """On the test frames of the twin with the next seed, of which it has seen nothing."""
    n_frames: int
    """Of each of the two tests."""
    build: ZooBuild | None = None


class ZooError(ValueError):
    """The zoo has no network of this name; the message says which it has."""


def list_entries(folder: Path = ZOO) -> tuple[str, ...]:
    """Names of all networks, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def load_entry(name: str, folder: Path = ZOO) -> ZooEntry:
    """What it is, and how good. Raises ZooError where there is none of this name."""
    if name not in list_entries(folder):
        raise ZooError(f"the zoo has no {name}; expected one of {', '.join(list_entries(folder)) or 'none'}")
    return TypeAdapter(ZooEntry).validate_json((folder / f"{name}.json").read_bytes())


def load_network(name: str, folder: Path = ZOO) -> Network:
    """The trained network, on the CPU, in evaluation mode. Raises ZooError where there is none of this name."""
    architecture = load_entry(name, folder).architecture
    model = build_model(architecture, seed=0)
    load_weights(folder / f"{name}.safetensors", model)
    return Network(architecture, model.eval())


def qonnx_file(name: str, folder: Path = ZOO) -> Path:
    """Its QONNX file."""
    return folder / f"{name}.onnx"


def write_entry(name: str, entry: ZooEntry, weights: Path, model: Path, folder: Path) -> None:
    """The three files of a network, of which two are copied."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(folder / f"{name}.safetensors", weights.read_bytes())
    write_bytes_atomically(folder / f"{name}.onnx", model.read_bytes())
    text = json.dumps(TypeAdapter(ZooEntry).dump_python(entry, mode="json"), indent=1)
    write_text_atomically(folder / f"{name}.json", text + "\n")
