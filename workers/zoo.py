"""Trained networks that the repository holds: `load_network(NAME)` gives one, `list_entries()` says which there are.

Each is one archive in `spaces/zoo`: entry.json, which says what it is and how good, weights.safetensors and model.onnx.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from pydantic import TypeAdapter

import spaces
from spaces.architecture import ArchitectureConfig
from storage.artifacts import write_by_rename
from storage.records import Build
from workers.checkpoint import load_state
from workers.model import Network, build_model

ZOO = Path(spaces.__file__).parent / "zoo"

ENTRY_FILE, WEIGHTS_FILE, MODEL_FILE = "entry.json", "weights.safetensors", "model.onnx"
"""In each archive."""


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
    """Test frames of its own twin."""
    n_fresh_frames: int
    """Test frames of the other one."""
    build: ZooBuild | None = None


class ZooError(ValueError):
    """The zoo has no network of this name, or a damaged one; the message says which."""


def list_entries(folder: Path = ZOO) -> tuple[str, ...]:
    """Names of all networks, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.zip")))


def load_entry(name: str, folder: Path = ZOO) -> ZooEntry:
    """What it is, and how good. Raises ZooError where there is none of this name."""
    if name not in list_entries(folder):
        raise ZooError(f"the zoo has no {name}; expected one of {', '.join(list_entries(folder)) or 'none'}")
    return TypeAdapter(ZooEntry).validate_json(_read(name, ENTRY_FILE, folder))


def load_network(name: str, folder: Path = ZOO) -> Network:
    """The trained network, on the CPU, in evaluation mode. Raises ZooError where there is none of this name."""
    architecture = load_entry(name, folder).architecture
    model = build_model(architecture, seed=0)
    load_state(model, safetensors.torch.load(_read(name, WEIGHTS_FILE, folder)))
    return Network(architecture, model.eval())


def read_qonnx(name: str, folder: Path = ZOO) -> bytes:
    """Its QONNX file. Raises ZooError where there is none of this name."""
    load_entry(name, folder)
    return _read(name, MODEL_FILE, folder)


def name_entry(text: str) -> str:
    """A name for a network: small letters, digits and _ of what it is called elsewhere."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("'", "")).strip("_")


def describe_build(build: Build | None) -> ZooBuild | None:
    """What an entry says of a build; None where it has no report."""
    if build is None or build.report is None:
        return None
    report, target = build.report.as_estimate(), build.target
    return ZooBuild(
        target.board,
        target.clk_period_ns,
        report.lut,
        report.bram_18k,
        report.dsp,
        report.throughput_fps,
        report.latency_us,
    )


def write_entry(name: str, entry: ZooEntry, weights: Path, model: Path, folder: Path) -> Path:
    """The archive of a network, which it returns; the same bytes for the same network.

    Raises ZooError where another network has the name already.
    """
    if name in list_entries(folder) and load_entry(name, folder).description != entry.description:
        known = load_entry(name, folder).description
        raise ZooError(f"{folder / name}.zip is {known}; expected another folder for {entry.description}")
    text = json.dumps(TypeAdapter(ZooEntry).dump_python(entry, mode="json"), indent=1) + "\n"
    contents = {ENTRY_FILE: text.encode(), WEIGHTS_FILE: weights.read_bytes(), MODEL_FILE: model.read_bytes()}
    path = folder / f"{name}.zip"
    with write_by_rename(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, content in contents.items():
            archive.writestr(zipfile.ZipInfo(inner), content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return path


def _read(name: str, inner: str, folder: Path) -> bytes:
    path = folder / f"{name}.zip"
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(inner)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise ZooError(f"{path} is no network of a zoo: {error}") from error
