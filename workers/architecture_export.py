"""The QONNX file of an architecture with random weights, for estimates of its hardware; its command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock

import torch
from tqdm import tqdm

from spaces.architecture import NOT_QUANTIZED, ArchitectureConfig
from spaces.blocks import InputQuantizer, Linear
from storage.commands import make_parser, run_command
from workers.model import QuantizedNetwork, build_model, iterate_mac_modules
from workers.qonnx_export import ExportError, write_qonnx

SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m workers.architecture_export ARCHITECTURE.json MODEL.onnx`; on failure one line, and 1."""
    parser = make_parser(
        prog="python -m workers.architecture_export", description="Exports a network that nobody trained."
    )
    parser.add_argument("architecture", type=Path, metavar="ARCHITECTURE.json", help="the network")
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="the QONNX file to write")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        export_architecture(ArchitectureConfig.model_validate_json(args.architecture.read_text()), args.model)
    except (ExportError, OSError, ValueError) as error:
        print(f"{args.architecture} cannot be exported: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def prepare() -> None:
    """Exports a small network, so that torch's imports of a first export are done before this process is forked.

    Leaves no thread and no lock that the forks would share.
    """
    tqdm.monitor_interval = 0
    tqdm.set_lock(RLock())  # its own is shared by all forks: one killed while it holds the lock would stop the others
    torch.set_num_threads(1)
    layer = Linear(out_features=24, weight_bit_width=4)
    with TemporaryDirectory() as folder:
        architecture = ArchitectureConfig(blocks=(InputQuantizer(), layer), frame_length=2)
        export_architecture(architecture, Path(folder) / "model.onnx")


def export_architecture(architecture: ArchitectureConfig, path: Path) -> None:
    """Writes the network with normally distributed weights of a fixed seed. No frames are needed.

    FINN fits its accumulators to the weights, so LUT depend on them a little. BRAM, DSP, frames/s and latency were the
    same as with trained weights. LUT differed by -3.0 to 0.0 % from networks trained for 3 epochs on the twin
    (BacalhauNet w6a6, VGG10 w4a4, three members of dsc4), and by -0.6 to +2.0 % with 80 % of the weights pruned.
    Uniform weights, as training starts with, gave 0.8 to 4.7 % more LUT. Raises ExportError where something is float.
    """
    if not architecture.is_quantized:
        raise ExportError(NOT_QUANTIZED)
    model = build_model(architecture, SEED)
    _draw_normal_weights(model)
    write_qonnx(model, architecture, path)


@torch.no_grad()
def _draw_normal_weights(model: QuantizedNetwork) -> None:
    """As after training: most weights lie around zero, far below the largest one, which sets the scale."""
    generator = torch.Generator().manual_seed(SEED)
    for _, module in iterate_mac_modules(model):
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * module.weight.std())


if __name__ == "__main__":
    run_command(main)
