"""The integer graph of networks that training seldom makes: turned and dead channels, layers of zeros."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from torch import nn

from fpga.finn_build import FinnOutput, UnbuildableNetworkError, run_finn_build
from fpga.verification import GRAPHS, verify_outputs
from spaces.architecture import ArchitectureConfig, GlobalPool, InputQuantizer
from storage.frames import Frames
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111, conv, dsc, linear
from workers.checkpoint import write_weights
from workers.model import QuantizedNetwork, build_model
from workers.qonnx_export import export_evaluation
from workers.training import Phase, train

N_FRAMES = 60


BLOCKS = (
    InputQuantizer(),
    conv(8, stride=2, bits=8),
    dsc(5, 1, 8, 8, 8),
    GlobalPool(),
    linear(16, 8, 8),
    linear(24, 8),
)

ARCHITECTURE = ArchitectureConfig(blocks=BLOCKS, frame_length=64)


@pytest.mark.slow
def test_channels_of_negative_and_zero_gain_give_the_networks_scores(finn_python: Path, tmp_path: Path) -> None:
    model, frames = train_network()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight[::3] *= -1
            norm.weight[1] = 0
            norm.bias[1] = 0.4
            norm.bias[::3] += 0.5

    output = build(finn_python, model, frames, tmp_path)

    verification = verify_outputs(tmp_path / "proof.npz", output.recorded_outputs)
    assert [agreement.n_scores_equal for agreement in verification.agreements] == [N_FRAMES] * len(GRAPHS)
    assert len(norms) == 4
    assert len(np.unique(np.load(output.recorded_outputs)["folded_scores"], axis=0)) > N_FRAMES // 2


@pytest.mark.slow
def test_layer_of_zeros_is_refused_for_its_sums_would_have_no_bits(finn_python: Path, tmp_path: Path) -> None:
    model, frames = train_network()
    layer = next(module for module in model.modules() if isinstance(module, nn.Conv1d) and module.groups > 1)
    with torch.no_grad():
        layer.weight.zero_()

    with pytest.raises(
        UnbuildableNetworkError, match=r"Conv_1 has weights that are all zero; expected one that is not"
    ):
        build(finn_python, model, frames, tmp_path)


def train_network() -> tuple[QuantizedNetwork, Frames]:
    """Of ARCHITECTURE, for one epoch on frames of noise."""
    generator = np.random.default_rng(0)
    samples, labels = generator.standard_normal((128, 2, 64)), np.arange(128) % 24
    frames = Frames(samples.astype(np.float32), labels, labels)
    torch.set_num_threads(1)
    model = build_model(ARCHITECTURE, seed=0)
    train(model, frames, Phase(0, 1, 0.01, 1e-4, 32, 5), seed=0)
    return model, frames


def build(python: Path, model: QuantizedNetwork, frames: Frames, folder: Path) -> FinnOutput:
    write_weights(folder / "weights.safetensors", model)
    proof = frames.select(np.arange(N_FRAMES))
    model_path, proof_path = export_evaluation(ARCHITECTURE, folder / "weights.safetensors", proof, folder, 2)
    return run_finn_build(
        python,
        model_path,
        proof_path,
        ZCU111,
        folder / "build",
        timeout_s=300,
        stop=Event(),
        level=BuildLevel.ESTIMATE,
    )
