"""The QONNX file of an architecture with weights that nobody trained, for estimates of its hardware; its command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock

import torch
from tqdm import tqdm

from spaces.architecture import NOT_QUANTIZED, ArchitectureConfig, InputQuantizer, Linear
from workers.model import QuantizedNetwork, build_model, iterate_mac_modules
from workers.qonnx_export import ExportError, write_qonnx

SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m workers.architecture_export ARCHITECTURE.json MODEL.onnx`; 1 with one line where it cannot."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 2:
        print(f"{len(given)} arguments are given; expected ARCHITECTURE.json MODEL.onnx", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    try:
        export_architecture(ArchitectureConfig.model_validate_json(Path(given[0]).read_text()), Path(given[1]))
    except (ExportError, OSError, ValueError) as error:
        print(f"{given[0]} cannot be exported: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def prepare() -> None:
    """Exports a network for nothing: what torch imports on its first export is there from then on.

    Leaves no thread and no lock that processes forked from this one would share.
    """
    tqdm.monitor_interval = 0
    tqdm.set_lock(RLock())  # its own is one of all forks: one that is killed while it holds it would stop the others
    torch.set_num_threads(1)
    layer = Linear(out_features=24, weight_bit_width=4)
    with TemporaryDirectory() as folder:
        architecture = ArchitectureConfig(blocks=(InputQuantizer(), layer), frame_length=2)
        export_architecture(architecture, Path(folder) / "model.onnx")


def export_architecture(architecture: ArchitectureConfig, path: Path) -> None:
    """Writes the network with normally distributed weights of a fixed seed; no frames are needed, none are run.

    FINN fits its accumulators to the weights, so LUT depend on them a little; BRAM, DSP, frames/s and latency were the
    same. LUT differ by -3.0 to 0.0 % from networks trained for 3 epochs on the twin (BacalhauNet w6a6, VGG10 w4a4,
    three members of dsc4), and by -0.6 to +2.0 % from the same with 80 % of their weights pruned. Weights as they are
    drawn for training, uniformly, give 0.8 to 4.7 % more LUT. Raises ExportError where something is float.
    """
    if not architecture.is_quantized:
        raise ExportError(NOT_QUANTIZED)
    model = build_model(architecture, SEED)
    _draw_normal_weights(model)
    write_qonnx(model, architecture, path)


@torch.no_grad()
def _draw_normal_weights(model: QuantizedNetwork) -> None:
    """Training gathers most weights around zero, far below the largest one, which sets the scale."""
    generator = torch.Generator().manual_seed(SEED)
    for _, module in iterate_mac_modules(model):
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * module.weight.std())


if __name__ == "__main__":
    sys.exit(main())
