"""A network block by block, as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dashboards.text_table import TextTable
from spaces.architecture import ArchitectureConfig, BlockShape, iterate_blocks
from spaces.blocks import Block, InputQuantizer, list_layer_bits

HEADER = ("block", "kernel", "stride", "channels", "weight bits", "activation bits", "output")


def architecture_table(architecture: ArchitectureConfig) -> TextTable:
    """Each block with its sizes and bits; the output is channels × length."""
    return TextTable(
        HEADER, tuple(_block_row(name, block, shape) for name, block, shape in iterate_blocks(architecture))
    )


def architecture_line(architecture: ArchitectureConfig) -> str:
    """The network in one line, such as "conv 9/4 16 · pool 2 · linear 24": kernel/stride and channels."""
    parts = []
    for _, block, _ in iterate_blocks(architecture):
        fields = block.model_dump()
        kernel, stride = fields.get("kernel_size"), fields.get("stride", 1)
        size = "" if kernel is None else f" {kernel}" + (f"/{stride}" if stride > 1 else "")
        channels = fields.get("out_channels") or fields.get("out_features")
        if block.type not in ("input_quantizer", "global_pool"):
            parts.append(f"{_SHORT.get(block.type, block.type)}{size}{'' if channels is None else f' {channels}'}")
    return " · ".join(parts)


_SHORT = {"depthwise_separable": "dsc", "max_pool": "pool", "inverted_residual": "ir"}


def _block_row(path: str, block: Block, shape: BlockShape) -> tuple[str, ...]:
    fields = block.model_dump()
    branch = re.search(r"branches\.(\d+)", path)
    name = (f"branch {branch[1]}: " if branch else "") + block.type + (" (residual)" if shape.is_residual else "")
    cells = [fields.get("kernel_size"), fields.get("stride"), fields.get("out_channels") or fields.get("out_features")]
    layers = list_layer_bits(block).values()
    bits = [_join_bits([layer.weight for layer in layers]), _join_bits([layer.activation for layer in layers])]
    if isinstance(block, InputQuantizer):
        bits[1] = str(block.bit_width)
        name += "" if block.features == "iq" else f" ({block.features})"
    return (name, *(_cell(cell) for cell in cells), *bits, f"{shape.out_channels} × {shape.out_length}")


def _join_bits(bits: Sequence[int | None]) -> str:
    """One number where all layers of the block have it, else that of each layer in order."""
    return _cell(bits[0]) if len(set(bits)) == 1 else ", ".join(map(_cell, bits))


def _cell(value: object) -> str:
    return "" if value is None else str(value)
