"""The metrics that a study may ask for: name, direction, unit, and where each is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

Direction = Literal["maximize", "minimize"]


class Source(Enum):
    """Where a metric comes from."""

    NETWORK = "measured of the trained network"
    RESOURCES = "FINN's estimate, of what the FPGA has"
    SPEED = "FINN's estimate, of how fast it runs"


class MeasuredNetwork(Protocol):
    """A network with its metrics, such as a complete trial."""

    @property
    def accuracy(self) -> float:
        """On validation frames; 0 to 1."""

    @property
    def inference_cost(self) -> float:
        """The challenge's score."""

    @property
    def hardware(self) -> object | None:
        """FINN's estimate; None where the study asks for no hardware."""


@dataclass(frozen=True)
class Metric:
    """A number that a study may optimize or bound."""

    name: str
    """Its key in study files and in Optuna."""
    label: str
    """Its name in texts for people."""
    direction: Direction
    number_format: str
    source: Source
    unit: str = ""
    field: str = ""
    """Its name in that record; empty where it is the same."""
    scale: str = ""
    """What a value of 1 means, where the unit does not say it."""
    short: str = ""
    """Title of a table's column, where that is enough."""

    @property
    def is_hardware(self) -> bool:
        """Whether FINN's estimate is needed."""
        return self.source is not Source.NETWORK

    @property
    def field_name(self) -> str:
        """Its name in the record it is read from, and in `search.report --json`."""
        return self.field or self.name

    @property
    def title(self) -> str:
        """Title of a column or an axis: the label, and the unit if there is one."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def column(self) -> str:
        """Title of a table's column."""
        return self.short or self.title

    @property
    def goal(self) -> str:
        """Which way it goes, in words."""
        return "higher is better" if self.direction == "maximize" else "lower is better"

    def read(self, network: MeasuredNetwork) -> float:
        """Its value for a network. Raises KeyError for a hardware metric without an estimate."""
        record = network.hardware if self.is_hardware else network
        if record is None:
            raise KeyError(self.name)
        return self.read_field(record)

    def read_field(self, record: object) -> float:
        """Its value in a record that has it: a network, or FINN's estimate."""
        return float(getattr(record, self.field_name))

    def number(self, value: float) -> str:
        """The value without its unit, for a column that names the unit."""
        return format(value, self.number_format)

    def text(self, value: float) -> str:
        """The value with its unit."""
        return f"{self.number(value)} {self.unit}" if self.unit else self.number(value)

    def describe(self, network: MeasuredNetwork) -> str:
        """Label and value for a network, for a sentence."""
        return f"{self.label} {self.text(self.read(network))}"


ACCURACY = Metric("accuracy", "accuracy", "maximize", ".2%", Source.NETWORK)
LUT = Metric("lut", "LUT", "minimize", ",.0f", Source.RESOURCES)
DSP = Metric("dsp", "DSP", "minimize", ",.0f", Source.RESOURCES)
BRAM = Metric("bram", "BRAM18", "minimize", ",.0f", Source.RESOURCES, field="bram_18k")
"""Blocks of 18 Kb."""
THROUGHPUT = Metric("throughput_fps", "throughput", "maximize", ",.0f", Source.SPEED, unit="frames/s", short="frames/s")
LATENCY = Metric("latency_us", "latency", "minimize", ",.1f", Source.SPEED, unit="µs")
INFERENCE_COST = Metric(
    "inference_cost", "inference cost η", "minimize", ".6f", Source.NETWORK, scale="8-bit VGG10 = 1"
)

METRICS = {metric.name: metric for metric in (ACCURACY, LUT, DSP, BRAM, THROUGHPUT, LATENCY, INFERENCE_COST)}
"""By name, in the order in which they are objectives."""

HARDWARE_METRICS = tuple(metric for metric in METRICS.values() if metric.is_hardware)
"""The metrics that FINN estimates."""


def needs_hardware(metrics: Iterable[Metric]) -> bool:
    """Whether one of them is a hardware metric."""
    return any(metric.is_hardware for metric in metrics)
