"""The integer graph of networks that training seldom makes: turned and dead channels."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from torch import nn

from fpga.finn_build import run_finn_build
from fpga.verification import GRAPHS, verify_outputs
from spaces.architecture import ArchitectureConfig, GlobalPool, InputQuantizer
from storage.frames import Frames
from storage.records import BuildLevel
from tests.fpga.exported_networks import ZCU111, conv, dsc, linear
from workers.checkpoint import write_weights
from workers.model import build_model
from workers.qonnx_export import export_evaluation
from workers.training import Phase, train

N_FRAMES = 60


@pytest.mark.slow
def test_channels_of_negative_and_zero_gain_give_the_networks_scores(finn_python: Path, tmp_path: Path) -> None:
    blocks = (
        InputQuantizer(),
        conv(8, stride=2, bits=8),
        dsc(5, 1, 8, 8, 8),
        GlobalPool(),
        linear(16, 8, 8),
        linear(24, 8),
    )
    architecture = ArchitectureConfig(blocks=blocks, frame_length=64)
    generator = np.random.default_rng(0)
    samples, labels = generator.standard_normal((128, 2, 64)), np.arange(128) % 24
    frames = Frames(samples.astype(np.float32), labels, labels)
    torch.set_num_threads(1)
    model = build_model(architecture, seed=0)
    train(model, frames, Phase(0, 1, 0.01, 1e-4, 32, 5), seed=0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight[::3] *= -1
            norm.weight[1] = 0
            norm.bias[1] = 0.4
            norm.bias[::3] += 0.5
    write_weights(tmp_path / "weights.safetensors", model)
    proof = frames.select(np.arange(N_FRAMES))
    model_path, proof_path = export_evaluation(architecture, tmp_path / "weights.safetensors", proof, tmp_path, 2)

    output = run_finn_build(
        finn_python,
        model_path,
        proof_path,
        ZCU111,
        tmp_path / "build",
        timeout_s=300,
        stop=Event(),
        level=BuildLevel.ESTIMATE,
    )

    verification = verify_outputs(proof_path, output.recorded_outputs)
    assert [agreement.n_scores_equal for agreement in verification.agreements] == [N_FRAMES] * len(GRAPHS)
    assert len(norms) == 4
    assert len(np.unique(np.load(output.recorded_outputs)["folded_scores"], axis=0)) > N_FRAMES // 2
