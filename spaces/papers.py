"""Published results, by the name that a study file gives as `paper`: what its report sets beside its own.

All accuracies are of RadioML 2018.01A over all SNRs unless the table says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spaces.blocks import Conv, DepthwiseSeparable, HardTanh, InputQuantizer
from spaces.pruning_stages import MagnitudeStage
from spaces.search_space import Design

BACALHAUNET_ARTICLE = 'Rosa et al., "BacalhauNet: A Tiny CNN for Lightning-Fast Modulation Classification", ITU J-FET'
BACALHAUNET_REPORT = 'Rosa et al., "BacalhauNet", ITU AI/ML in 5G Challenge PS-007, report (2021)'
AMC_SLIDES = 'The A(MC) Team, "Lightning-Fast Modulation Classification with Hardware-Efficient Neural Networks" (2021)'
AARONICA = "Team Aaronica, https://github.com/ITU-AI-ML-in-5G-Challenge/ITU-ML5G-PS-007-Aaronica"
HAKIMI = 'A. Hakimi, "Compression Technique for an Automatic Modulation Recognition CNN model", INRS'


@dataclass(frozen=True)
class Published:
    """One row of a table: what was published of one network."""

    accuracy: float | None = None
    """0 to 1."""
    inference_cost: float | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper."""

    title: str
    source: str
    rows: Mapping[str, Published]
    label: Callable[[Design, int], str | None]
    """Of a network, given as its trial's design and its stage: the row that it belongs to, or None."""


def _label_bits(design: Design, stage: int) -> str | None:
    layers = [block for block in design.architecture.blocks if isinstance(block, Conv | DepthwiseSeparable)]
    bits = layers[0].weight_bit_width
    return "float32" if bits == 32 else f"{bits} bits"


def _label_input(design: Design, stage: int) -> str | None:
    clips = isinstance(design.architecture.blocks[0], HardTanh | InputQuantizer)
    lowest = design.training.min_snr_db
    snrs = {None: "SNR from -6 dB", -6: "SNR from -6 dB", -20: "all SNRs"}.get(lowest)
    return None if snrs is None else f"{'hard tanh' if clips else 'no hard tanh'}, {snrs}"


def _label_stage(names: tuple[str, ...]) -> Callable[[Design, int], str | None]:
    return lambda design, stage: names[stage] if stage < len(names) else None


def _label_layers(design: Design, stage: int) -> str | None:
    layers = [block for block in design.architecture.blocks if isinstance(block, DepthwiseSeparable)]
    parts = [[getattr(la, name) for la in layers] for name in ("kernel_size", "stride", "out_channels")]
    return " ".join("-".join(map(str, part)) for part in parts)


def _label_hakimi(design: Design, stage: int) -> str | None:
    convolutions = [block for block in design.architecture.blocks if isinstance(block, Conv)]
    name = {6: "original", 7: "optimized"}.get(len(convolutions))
    bits = convolutions[0].weight_bit_width
    if design.training.kind == "post_training":
        return f"{name}, {bits} bits after training"
    return f"{name}, {'float32' if bits == 32 else f'{bits} bits'}"


def _label_rewinding(design: Design, stage: int) -> str | None:
    last = design.stages[-1] if design.stages else None
    if stage not in (0, 10) or not isinstance(last, MagnitudeStage):
        return None
    endings = {"nothing": "", "learning_rate": ", learning rate rewound", "weights": ", weights rewound"}
    return "trained" if stage == 0 else f"after 10 rounds{endings[last.rewind]}"


FOUR_BLOCKS = {
    "21-9-17-13 2-1-2-1 24-24-30-36": Published(0.561, 0.764),
    "21-17-13-9 2-1-2-1 24-24-30-36": Published(0.566, 0.791),
    "21-9-17-13 1-2-1-2 24-24-30-36": Published(0.569, 0.976),
    "21-17-13-9 1-2-1-2 24-24-30-36": Published(0.576, 0.988),
    "21-9-17-13 2-1-2-1 32-32-32-32": Published(0.574, 1.016),
    "21-9-17-13 2-1-2-1 24-24-48-48": Published(0.573, 1.099),
    "21-17-13-9 2-1-2-1 24-24-48-48": Published(0.570, 1.113),
    "21-9-17-13 2-1-2-1 24-36-36-48": Published(0.570, 1.129),
    "27-9-21-15 2-1-2-1 24-24-48-48": Published(0.5785, 1.137),
    "21-17-13-9 2-1-2-1 24-36-36-48": Published(0.578, 1.143),
    "27-21-15-9 2-1-2-1 24-24-48-48": Published(0.580, 1.158),
    "27-9-21-15 2-1-2-1 24-36-36-48": Published(0.577, 1.171),
    "33-25-17-9 2-1-2-1 24-24-48-48": Published(0.566, 1.203),
}
"""Two of the 15 rows stand twice, with 57.8 and 57.9 %, and with 57.7 and 58.3 %: here with their means."""

PAPER_TABLES: Mapping[str, PaperTable] = {
    "bacalhaunet_bits": PaperTable(
        "BacalhauNet, bit widths (table 5)",
        BACALHAUNET_ARTICLE,
        {
            "float32": Published(0.5909, 1.4155),
            "8 bits": Published(0.5906, 0.1461),
            "7 bits": Published(0.5835, 0.1002),
            "6 bits": Published(0.5867, 0.0781),
            "5 bits": Published(0.5589, 0.0562),
        },
        _label_bits,
    ),
    "bacalhaunet_input": PaperTable(
        "BacalhauNet, hard tanh and frames to train on (tables 2 and 3, means of 10)",
        BACALHAUNET_ARTICLE,
        {
            "hard tanh, SNR from -6 dB": Published(0.5899),
            "no hard tanh, SNR from -6 dB": Published(0.5807),
            "hard tanh, all SNRs": Published(0.5904),
            "no hard tanh, all SNRs": Published(),
        },
        _label_input,
    ),
    "bacalhaunet_pruning": PaperTable(
        "BacalhauNet, rounds of pruning (table 6)",
        BACALHAUNET_ARTICLE,
        {
            "trained, lambda 1e-4": Published(0.5762, 0.0735),
            "lambda 5e-5, epsilon 0.15": Published(0.5826, 0.0348),
            "lambda 1e-4, epsilon 0.25": Published(0.5755, 0.0235),
            "lambda 1e-5, epsilon 0.25": Published(0.56241, 0.016211),
        },
        _label_stage(
            (
                "trained, lambda 1e-4",
                "lambda 5e-5, epsilon 0.15",
                "lambda 1e-4, epsilon 0.25",
                "lambda 1e-5, epsilon 0.25",
            )
        ),
    ),
    "bacalhaunet_architectures": PaperTable(
        "four blocks: kernels, strides, channels (figure 4a)", BACALHAUNET_REPORT, FOUR_BLOCKS, _label_layers
    ),
    "mobilenetv3_small": PaperTable(
        "MobileNetV3-Small",
        BACALHAUNET_REPORT,
        {"float32": Published(0.613, 30.42), "8 bits": Published(0.602, 7.25)},
        _label_bits,
    ),
    "amc_imp": PaperTable(
        "VGG10 with 4 bits, iterative magnitude pruning",
        AMC_SLIDES,
        {
            "trained": Published(),
            "after 10 rounds": Published(0.5625, 0.042467),
            "after 10 rounds, learning rate rewound": Published(),
            "after 10 rounds, weights rewound": Published(),
        },
        _label_rewinding,
    ),
    "aaronnet": PaperTable(
        "AaronNet32",
        AARONICA,
        {"32": Published(0.5849, 0.057224), "32+": Published(0.5831, 0.030711), "32++": Published(0.5609, 0.015705)},
        _label_stage(("32", "32+", "32++")),
    ),
    "hakimi_cnn": PaperTable(
        "MATLAB's network and Hakimi's, at 30 dB",
        HAKIMI,
        {
            "original, float32": Published(0.977),
            "original, 8 bits": Published(),
            "original, 8 bits after training": Published(),
            "optimized, float32": Published(0.9743),
            "optimized, 8 bits": Published(),
            "optimized, 8 bits after training": Published(0.9705),
        },
        _label_hakimi,
    ),
}
"""Empty fields were not published."""
