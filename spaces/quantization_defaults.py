"""Bit widths of blocks that are given none: `space.quantization` of a study."""

from __future__ import annotations

from collections.abc import Mapping

from spaces.allowed_values import make_rule
from spaces.blocks import BitWidth
from spaces.distributions import parse_drawable
from spaces.problems import InvalidValueError

DEFAULT_BIT_WIDTHS: Mapping[str, int] = {"weights": 4, "depthwise_weights": 6, "linear_weights": 4, "activations": 4}
"""The best of those that were compared at equal inference cost, see workers/README.md."""

BIT_WIDTH_RULE = make_rule(BitWidth)


def fill_in_bit_widths(blocks: object, given: object) -> object:
    """The blocks of a study file, each with the bit widths that it leaves out. Changes nothing that is no block.

    Of `given` what is wrong is passed over: it is reported where it stands.
    """
    widths: dict[str, object] = dict(DEFAULT_BIT_WIDTHS)
    for name, value in given.items() if isinstance(given, Mapping) else ():
        try:
            parse_drawable(value, BIT_WIDTH_RULE)
        except InvalidValueError:
            continue
        widths[name] = value
    return _fill_in_all(blocks, widths)


def _fill_in_all(blocks: object, widths: Mapping[str, object]) -> object:
    return [_fill_in(block, widths) for block in blocks] if isinstance(blocks, list) else blocks


def _fill_in(block: object, widths: Mapping[str, object]) -> object:
    if not isinstance(block, dict):
        return block
    if isinstance(variants := block.get("one_of"), dict):
        return {**block, "one_of": {name: _fill_in_all(blocks, widths) for name, blocks in variants.items()}}
    if isinstance(branches := block.get("branches"), list):
        return {**block, "branches": [_fill_in_all(branch, widths) for branch in branches]}
    if "repeat" in block:
        return {**block, "blocks": _fill_in_all(block["blocks"], widths)} if "blocks" in block else block
    match block.get("type"):
        case "linear":
            return {"weight_bit_width": widths["linear_weights"], **block}
        case "conv":
            return {"weight_bit_width": widths["weights"], "activation_bit_width": widths["activations"], **block}
        case "depthwise_separable" | "inverted_residual":
            own = {} if "weight_bit_width" in block else {"depthwise_weight_bit_width": widths["depthwise_weights"]}
            bits = {"weight_bit_width": widths["weights"], "activation_bit_width": widths["activations"]}
            return {**bits, **own, **block}
    return block
