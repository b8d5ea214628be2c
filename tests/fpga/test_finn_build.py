"""FINN builds the blocks of the search space, and says in one line why it does not build something else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fpga.finn_build import FinnOutput
from fpga.reports import make_build_report, read_network_report
from fpga.toolchain.finn import Finn
from fpga.verification import GRAPHS, Verification, verify_outputs
from storage.hardware_reports import GraphAgreement
from storage.records import BuildLevel
from tests.fpga.exported_networks import N_REFERENCE_FRAMES, NETWORKS, ZCU111, BuiltNetwork, build_exported

ALL_RIGHT = tuple(GraphAgreement(graph, 1, 1) for graph in GRAPHS)


BuildOnce = Callable[[str], BuiltNetwork]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_all_graphs_give_the_networks_integer_scores(name: str, build_network: BuildOnce) -> None:
    built = build_network(name)

    verification = verify_outputs(built.exported / "proof.npz", built.output.recorded_outputs)

    agreements = tuple(GraphAgreement(graph, N_REFERENCE_FRAMES, N_REFERENCE_FRAMES) for graph in GRAPHS)
    assert verification == Verification(N_REFERENCE_FRAMES, agreements)
    classes = np.load(built.output.recorded_outputs)["folded_scores"].argmax(axis=1)
    assert len(np.unique(classes)) > 5  # frames that all get one class would show little


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_estimates_are_those_of_a_folded_network(name: str, build_network: BuildOnce) -> None:
    network = read_network_report(build_network(name).output.report_folder)
    report = make_build_report(network, Verification(1, ALL_RIGHT))

    assert report.connected is not None
    assert 1_000 < report.lut < report.connected.lut < 80_000
    assert report.n_width_converters
    assert report.n_fifos
    assert ZCU111.target_fps <= report.throughput_fps < 2 * ZCU111.target_fps
    assert report.throughput_fps == pytest.approx(1e9 / (ZCU111.clk_period_ns * report.bottleneck_cycles))


@pytest.mark.slow
def test_fifos_beside_residual_branches_are_deeper_than_their_windows(build_network: BuildOnce) -> None:
    report = read_network_report(build_network("residual").output.report_folder)

    depths = [fifo.depth for fifo in report.skip_fifos]

    assert len(depths) == 2
    assert depths[0] > depths[1] > 7  # words; windows of 9 and of 7 samples


@pytest.mark.slow
def test_code_generation_leaves_sources(build_network: BuildOnce) -> None:
    generated = build_network("residual").folder / "generated"

    assert len(list(generated.rglob("*.cpp"))) > 5
    assert len(list(generated.rglob("*.v"))) > 5


@pytest.mark.slow
def test_host_side_of_the_input_gives_the_integers_of_the_quantizer(build_network: BuildOnce) -> None:
    host_io = json.loads((build_network("residual").folder / "output" / "host_io.json").read_text())
    samples = np.array([-9.0, -3.0, -1.0, 0.0, 0.01, 0.013, 1.0, 2.9, 9.0])

    integers = np.searchsorted(host_io["input_thresholds"], samples, side="right") + host_io["input_offset"]

    assert integers.tolist() == np.clip(np.round(samples * 128 / 3), -128, 127).tolist()


@pytest.mark.slow
def test_two_builds_at_once_give_what_each_gives_alone(finn: Finn, build_network: BuildOnce, tmp_path: Path) -> None:
    alone = [build_network(name) for name in ("residual", "pools_between_residuals")]
    together: dict[int, float] = {}

    def build_one(index: int) -> None:
        together[index] = read_total(
            build_exported(finn, alone[index].exported, tmp_path / str(index), level=BuildLevel.ESTIMATE)
        )

    threads = [threading.Thread(target=build_one, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [together[0], together[1]] == [read_total(built.output) for built in alone]


def read_total(output: FinnOutput) -> float:
    resources = json.loads((output.report_folder / "estimate_layer_resources.json").read_text())
    lut: float = resources["total"]["LUT"]
    return lut
