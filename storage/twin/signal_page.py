"""The signals of a data set as one HTML page: constellation, waveform and spectrum of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from storage.artifacts import write_text_atomically
from storage.dataset.radioml import DatasetError, inspect_radioml, open_file, read_slab
from storage.signals.cells import Reals, Signal
from storage.twin.file import Twin
from storage.twin.symbol_timing import find_symbols

if TYPE_CHECKING:
    import plotly.graph_objects as go

N_FRAMES = 64
"""Frames per class that spectrum and amplitudes are taken over."""

CONSTELLATION_SAMPLES = 1024
WAVEFORM_SAMPLES = 256
AMPLITUDE_PERCENTILES = (1, 25, 50, 75, 99)
"""Lower whisker, box, median, box, upper whisker."""

IN_PHASE_COLOUR = "#1f5fa8"
QUADRATURE_COLOUR = "#d1812b"
PATH_COLOUR = "#c9d6e6"
TEXT_COLOUR = "#2b3038"
GRID_COLOUR = "#eceff3"

TEMPLATES = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
PAGE = TEMPLATES.from_string("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: signals at {{ snr_db }} dB</title>
<style>
body { font: 15px/1.5 Helvetica, Arial, sans-serif; color: #2b3038; max-width: 96rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 1.6rem 0 0 }
h3 { font-size: 1rem; margin: .4rem 0 0 .6rem }
.quiet { color: #69717c; margin-top: .2rem }
.classes { display: grid; grid-template-columns: repeat(auto-fill, minmax(38rem, 1fr)); gap: 1rem }
.class { border: 1px solid #e3e7ec; border-radius: 6px; min-width: 0; overflow: hidden; padding: 0 .4rem }
.i { color: #1f5fa8 } .q { color: #d1812b }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="quiet">{{ signals | length }} classes at the SNR label {{ snr_db }} dB,
frames of {{ frame_length }} samples.</p>
<h2>Amplitudes</h2>
<p class="quiet">Of {{ n_frames }} frames per class: boxes from the lower to the upper quartile with the median,
whiskers from 1 % to 99 % of the samples.</p>
{{ amplitudes }}
<h2>Signals</h2>
<p class="quiet">Left: {{ constellation }} in the complex plane; large dots are symbols, after timing
and pulse were found from the frames, small ones are samples where none were found.
Middle: the first samples of a frame, <b class="i">in phase</b> and <b class="q">quadrature</b>.
Right: power over frequency in cycles per sample, mean of {{ n_frames }} frames.</p>
<div class="classes">
{% for class_name, plot in signals %}<section class="class"><h3>{{ class_name }}</h3>{{ plot }}</section>
{% endfor %}</div>
</body>
</html>
""")


@dataclass(frozen=True)
class ClassFrames:
    """Some frames of one class, complex64 (n, frame_length)."""

    class_name: str
    frames: Signal


def write_data_page(path: Path, data: Path, snr_db: int) -> None:
    """Writes the page of a data file of the RadioML layout: the first frames of each class at one SNR label.

    Raises DatasetError where the file cannot be read or has no such label, OSError where the page cannot be written.
    """
    file = inspect_radioml(data)
    if snr_db not in file.snrs_db:
        raise DatasetError(f"SNR label is {snr_db}; {data} has {', '.join(map(str, file.snrs_db))}")
    n_frames = min(N_FRAMES, file.frames_per_cell)
    with open_file(data) as h5:
        classes = []
        for label, class_name in enumerate(file.class_names):
            first = (label * len(file.snrs_db) + file.snrs_db.index(snr_db)) * file.frames_per_cell
            classes.append(ClassFrames(class_name, _as_complex(read_slab(h5, data, first, first + n_frames))))
    write_text_atomically(path, signal_page(data.name, snr_db, classes))


def write_generated_page(path: Path, twin: Twin) -> None:
    """Writes the page of the twin's signals at its first SNR label; generates the frames for it. Raises OSError."""
    snr_db = twin.signal_set.snrs_db[0]
    classes = []
    for class_name in twin.signal_set.class_names:
        blocks = twin.signal_set.generate_cell(class_name, snr_db, twin.seed, N_FRAMES)
        classes.append(ClassFrames(class_name, _as_complex(np.concatenate(list(blocks)))))
    title = f"{twin.signal_set.profile}, generated from seed {twin.seed}"
    write_text_atomically(path, signal_page(title, snr_db, classes))


def signal_page(title: str, snr_db: int, classes: Sequence[ClassFrames]) -> str:
    """The page; it needs no network to be shown."""
    powers = [mean_power_spectrum_db(shown.frames) for shown in classes]
    power_range = (min(power.min() for power in powers) - 3, max(power.max() for power in powers) + 3)
    n_frames, frame_length = classes[0].frames.shape
    return PAGE.render(
        title=title,
        snr_db=snr_db,
        n_frames=n_frames,
        frame_length=frame_length,
        constellation=_constellation_words(frame_length),
        amplitudes=_div(_amplitude_figure(classes), with_library=True),
        signals=[
            (shown.class_name, _div(_class_figure(shown, power, power_range)))
            for shown, power in zip(classes, powers, strict=True)
        ],
    )


def mean_power_spectrum_db(frames: Signal) -> NDArray[np.float32]:
    """Power density in dB at frequencies from -0.5 up, (frame_length,); white noise of unit power is 0 dB."""
    window = np.hanning(frames.shape[1] + 2)[1:-1]
    spectra = np.abs(np.fft.fft(frames * window, axis=1)) ** 2 / np.sum(window**2)
    return np.fft.fftshift(10 * np.log10(spectra.mean(axis=0) + 1e-12)).astype(np.float32)


def _as_complex(frames: Reals) -> Signal:
    """(n, samples, 2) as (n, samples)."""
    return np.ascontiguousarray(frames, np.float32).view(np.complex64)[..., 0]


def _constellation_words(frame_length: int) -> str:
    n_frames = _constellation_frames(frame_length)
    return "one frame" if n_frames == 1 else f"{n_frames} frames"


def _constellation_frames(frame_length: int) -> int:
    return max(1, CONSTELLATION_SAMPLES // frame_length)


def _class_figure(shown: ClassFrames, power: NDArray[np.float32], power_range: tuple[float, float]) -> go.Figure:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=3, column_widths=[0.24, 0.4, 0.36], horizontal_spacing=0.075)
    for column, traces in enumerate(
        (_constellation_traces(shown.frames), _waveform_traces(shown.frames), [_spectrum_trace(power)]), start=1
    ):
        for trace in traces:
            figure.add_trace(trace, row=1, col=column)
    figure.update_layout(**_layout(height=230))
    figure.update_xaxes(gridcolor=GRID_COLOUR, zeroline=False, nticks=5)
    figure.update_yaxes(gridcolor=GRID_COLOUR, zeroline=False, nticks=6)
    dots = figure.data[1]
    reach = 1.2 * float(np.nanmax(np.abs(dots.x + 1j * dots.y)))
    figure.update_xaxes(range=(-reach, reach), constrain="domain", row=1, col=1)
    figure.update_yaxes(range=(-reach, reach), constrain="domain", scaleanchor="x", row=1, col=1)
    figure.update_yaxes(range=power_range, ticksuffix=" dB", row=1, col=3)
    return figure


def _constellation_traces(frames: Signal) -> list[go.Scatter]:
    """Symbols on their path, or all samples where no symbols are found."""
    import plotly.graph_objects as go

    n_frames = _constellation_frames(frames.shape[1])
    timed = find_symbols(frames)
    path = _joined(frames[:n_frames] if timed is None else timed.path[:n_frames])
    dots = path if timed is None else _joined(timed.symbols[:n_frames])
    marker = {"color": IN_PHASE_COLOUR, "size": 2.2 if timed is None else 4.5, "opacity": 0.8}
    return [
        go.Scatter(**_place(path), mode="lines", line={"color": PATH_COLOUR, "width": 0.6}),
        go.Scatter(**_place(dots), mode="markers", marker=marker),
    ]


def _joined(frames: Signal) -> Signal:
    """Frames (n, samples) as one line that is broken between them."""
    gap = np.full((len(frames), 1), np.nan, np.complex64)
    return np.concatenate([frames, gap], axis=1).ravel()


def _place(points: Signal) -> dict[str, Any]:
    return {"x": points.real.copy(), "y": points.imag.copy(), "hoverinfo": "skip"}


def _waveform_traces(frames: Signal) -> list[go.Scatter]:
    import plotly.graph_objects as go

    samples = frames[0, :WAVEFORM_SAMPLES]
    parts = ((samples.real, IN_PHASE_COLOUR, "in phase"), (samples.imag, QUADRATURE_COLOUR, "quadrature"))
    return [
        go.Scatter(y=part.copy(), mode="lines", line={"color": colour, "width": 1.2}, name=name)
        for part, colour, name in parts
    ]


def _spectrum_trace(power: NDArray[np.float32]) -> go.Scatter:
    import plotly.graph_objects as go

    frequency = np.linspace(-0.5, 0.5, len(power), endpoint=False, dtype=np.float32)
    return go.Scatter(x=frequency, y=power, mode="lines", line={"color": IN_PHASE_COLOUR, "width": 1}, name="power")


def _amplitude_figure(classes: Sequence[ClassFrames]) -> go.Figure:
    """One box per class, on a logarithmic axis: AM-SSB reaches ten times as far as the others."""
    import plotly.graph_objects as go

    low, lower, median, upper, high = np.transpose(
        [np.percentile(np.abs(shown.frames), AMPLITUDE_PERCENTILES) for shown in classes]
    )
    boxes = go.Box(
        x=[shown.class_name for shown in classes],
        **{"lowerfence": low, "q1": lower, "median": median, "q3": upper, "upperfence": high},
        line={"color": IN_PHASE_COLOUR, "width": 1.4},
        fillcolor=PATH_COLOUR,
        name="amplitude",
    )
    figure = go.Figure(boxes, layout=_layout(height=360))
    figure.update_yaxes(type="log", title="amplitude |I + jQ|", gridcolor=GRID_COLOUR, dtick=1)
    figure.update_xaxes(tickangle=-40)
    return figure


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "showlegend": False,
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "font": {"family": "Helvetica, Arial, sans-serif", "size": 11, "color": TEXT_COLOUR},
        "margin": {"l": 44, "r": 14, "t": 12, "b": 32},
    }


def _div(figure: go.Figure, with_library: bool = False) -> Markup:
    options = {"displayModeBar": False, "responsive": True}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=with_library, config=options))
