"""What FINN estimates of a folded network, as a record and as the JSON files that keep it.

Standard library alone: FINN's Python writes it, ours reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ResourceCounts:
    """Resources that a design uses, or that an FPGA has. BRAM in blocks of 18 Kb."""

    lut: int
    bram_18k: int
    uram: int
    dsp: int
    ff: int | None = None
    """None where it is not known: FINN estimates no flip-flops."""

    def to_json(self) -> dict[str, int]:
        """Unknown counts are left out."""
        return {name: count for name, count in asdict(self).items() if count is not None}


@dataclass(frozen=True)
class LayerEstimate:
    """One layer of the folded network."""

    name: str
    lut: int
    bram_18k: int
    uram: int
    dsp: int
    cycles: int
    """Clock cycles per frame."""
    pe: int | None
    """Outputs computed at once; None where the layer has no such folding."""
    simd: int | None
    """Inputs taken at once."""


@dataclass(frozen=True)
class BranchFifo:
    """The FIFO beside a residual branch."""

    fork: str
    """The layer's name."""
    depth: int
    """In words of the fork's stream."""


@dataclass(frozen=True)
class LayerWeights:
    """A layer with weights, in the exported file."""

    name: str
    is_convolution: bool
    n_weights: int
    """Those that are not zero."""
    bits: int
    """Of a weight."""


@dataclass(frozen=True)
class NetworkWeights:
    """What a formula that counts weights needs."""

    layers: tuple[LayerWeights, ...]
    n_max_pools: int


@dataclass(frozen=True)
class NetworkReport:
    """Resources and cycles per layer, both totals, and the performance."""

    layers: tuple[LayerEstimate, ...]
    """In the order of the data."""
    layers_only: ResourceCounts
    """The sum of the layers."""
    with_fifos: ResourceCounts
    """With the FIFOs and data width converters between them."""
    n_width_converters: int
    n_fifos: int
    skip_fifos: tuple[BranchFifo, ...]
    bottleneck_layer: str
    bottleneck_cycles: int
    """Clock cycles per frame."""
    throughput_fps: float
    latency_us: float
    """First sample in to class out."""
    available: ResourceCounts | None
    """On the board; None where FINN does not know it."""
    weights: NetworkWeights | None = None
    """None in a sweep."""

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes; the files call both totals `bare` and `connected`."""
        values = asdict(self)
        del values["layers_only"], values["with_fifos"]
        return values | {
            "bare": self.layers_only.to_json(),
            "connected": self.with_fifos.to_json(),
            "available": None if self.available is None else self.available.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> NetworkReport:
        """Also reads a report made before `skip_fifos` existed. Raises KeyError where another field is missing."""
        weights, available = values.get("weights"), values["available"]
        return cls(
            layers=read_layers(values),
            layers_only=ResourceCounts(**values["bare"]),
            with_fifos=ResourceCounts(**values["connected"]),
            n_width_converters=values["n_width_converters"],
            n_fifos=values["n_fifos"],
            skip_fifos=tuple(BranchFifo(**fifo) for fifo in values.get("skip_fifos", ())),
            bottleneck_layer=values["bottleneck_layer"],
            bottleneck_cycles=values["bottleneck_cycles"],
            throughput_fps=float(values["throughput_fps"]),
            latency_us=float(values["latency_us"]),
            available=None if available is None else ResourceCounts(**available),
            weights=None if weights is None else _read_weights(weights),
        )


@dataclass(frozen=True)
class SweptFolding:
    """The smallest folding that reaches a throughput, or that comes nearest."""

    target_fps: int
    report: NetworkReport

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {"target_fps": self.target_fps, **self.report.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SweptFolding:
        """Raises KeyError where a field is missing."""
        return cls(values["target_fps"], NetworkReport.from_json(values))


def read_layers(values: Mapping[str, Any]) -> tuple[LayerEstimate, ...]:
    """The layers of a report, also of one that older code made."""
    return tuple(LayerEstimate(**layer) for layer in values["layers"])


def _read_weights(values: Mapping[str, Any]) -> NetworkWeights:
    return NetworkWeights(tuple(LayerWeights(**layer) for layer in values["layers"]), values["n_max_pools"])
