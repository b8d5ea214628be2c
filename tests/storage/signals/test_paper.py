import numpy as np
import pytest
from numpy.typing import NDArray

from storage.signals.cells import Cell
from storage.signals.cells import open_cell as open_labelled_cell
from storage.signals.paper import ALPHABETS, draw_impairments, generate_cell, impair, modulate
from storage.signals.pulse_shaping import root_raised_cosine
from storage.signals.radioml_classes import CLASS_NAMES, FRAME_LENGTH

Complex = NDArray[np.complex128]
LINEAR_CLASSES = CLASS_NAMES[:17]
ROLL_OFF = np.full(8, 0.25)


def open_cell(class_name: str) -> Cell:
    return open_labelled_cell(CLASS_NAMES.index(class_name), 30, 5)


def make_frames(class_name: str, snr_db: int, n_frames: int = 64) -> Complex:
    frames = np.concatenate(list(generate_cell(class_name, snr_db, 5, n_frames)))
    return (frames[..., 0] + 1j * frames[..., 1]).astype(np.complex128)


def match_symbols(signal: Complex, roll_off: NDArray[np.float64]) -> Complex:
    """Symbols behind a second root-raised-cosine filter."""
    rates = np.asarray(np.fft.fftfreq(signal.shape[1]) * 8, np.float64)
    spectrum = np.fft.fft(signal, axis=1) * root_raised_cosine(rates, roll_off)
    return np.asarray(np.fft.ifft(spectrum, axis=1)[:, ::8], np.complex128)


def test_impairments_are_distributed_as_in_table_1() -> None:
    drawn = draw_impairments(open_cell("QPSK"), 20_000)
    for values, low, high in (
        (drawn.roll_off, 0.1, 0.4),
        (drawn.timing_offset, 0.0, 16.0),
        (drawn.phase, 0.0, 2 * np.pi),
    ):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.02)
    for errors in (drawn.rate_error, drawn.carrier_offset):
        assert errors.std() == pytest.approx(1e-4, rel=0.03)
        assert abs(errors.mean()) < 3e-6
    assert abs(np.corrcoef(drawn.rate_error, drawn.carrier_offset)[0, 1]) < 0.03


@pytest.mark.parametrize("snr_db", [-20, 0, 30])
@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_every_frame_has_power_one_with_its_mean(class_name: str, snr_db: int) -> None:
    power = np.mean(np.abs(make_frames(class_name, snr_db)) ** 2, axis=1)
    np.testing.assert_allclose(power, 1, rtol=1e-4)


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_true_snr_is_the_label(class_name: str) -> None:
    frames = make_frames(class_name, 10, n_frames=256)
    window = np.hanning(FRAME_LENGTH)
    spectrum = np.abs(np.fft.fft(frames * window, axis=1)) ** 2 / np.sum(window**2)
    noise_power = spectrum[:, np.abs(np.fft.fftfreq(FRAME_LENGTH)) > 0.3].mean(axis=1)
    snr_db = 10 * np.log10((1 - noise_power).sum() / noise_power.sum())
    assert snr_db == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize("class_name", LINEAR_CLASSES)
def test_symbols_behind_a_second_root_raised_cosine_are_points_of_the_alphabet(class_name: str) -> None:
    signal = modulate(class_name, open_cell(class_name), ROLL_OFF).astype(np.complex128)
    points = ALPHABETS[class_name]
    distance = np.abs(match_symbols(signal, ROLL_OFF)[..., None] - points).min(axis=-1)
    assert distance.max() < 1e-4 * np.abs(points).max()


@pytest.mark.parametrize(("class_name", "n_levels"), [("4ASK", 4), ("8ASK", 8)])
def test_ask_has_both_signs_and_ook_has_one(class_name: str, n_levels: int) -> None:
    assert np.unique(np.diff(ALPHABETS[class_name].real)).tolist() == [2.0]
    assert (len(ALPHABETS[class_name]), ALPHABETS[class_name].mean()) == (n_levels, 0)
    assert np.sort(ALPHABETS["OOK"].real).tolist() == [0, 1]


# Radii over the innermost ring: DVB-S2 (ETSI EN 302 307-1) at code rate 9/10, DVB-S2X (307-2) at 132/180 and 135/180.
@pytest.mark.parametrize(
    ("class_name", "rings"),
    [
        ("16APSK", {1.0: 4, 2.57: 12}),
        ("32APSK", {1.0: 4, 2.53: 12, 4.3: 16}),
        ("64APSK", {1.0: 4, 2.4: 12, 4.3: 20, 7.0: 28}),
        ("128APSK", {1.0: 16, 1.715: 16, 2.118: 16, 2.681: 16, 2.75: 16, 3.819: 48}),
    ],
)
def test_apsk_rings_are_those_of_the_standards(class_name: str, rings: dict[float, int]) -> None:
    radii, counts = np.unique(np.round(np.abs(ALPHABETS[class_name]), 9), return_counts=True)
    assert dict(zip(radii.tolist(), counts.tolist(), strict=True)) == rings


@pytest.mark.parametrize("class_name", ["BPSK", "16QAM"])
def test_frames_are_the_signal_late_turned_and_stretched(class_name: str) -> None:
    impairments = draw_impairments(open_cell(class_name), 8)
    signal = modulate(class_name, open_cell(class_name), impairments.roll_off)
    frames = impair(signal, impairments)
    time = np.arange(FRAME_LENGTH)
    carrier = 2 * np.pi * impairments.carrier_offset[:, None] * time + impairments.phase[:, None]
    straight = frames * np.exp(-1j * carrier)
    about_middle = (time - FRAME_LENGTH / 2) * (1 + impairments.rate_error[:, None]) + FRAME_LENGTH / 2
    read_at = 128 + about_middle - impairments.timing_offset[:, None]
    spectrum = np.fft.fft(signal, axis=1)
    frequencies = np.fft.fftfreq(signal.shape[1])
    for frame in range(2):
        exact = np.exp(2j * np.pi * read_at[frame][:, None] * frequencies) @ spectrum[frame] / signal.shape[1]
        assert np.abs(straight[frame] - exact).max() < 0.01 * np.abs(exact).max()


def test_oqpsk_is_qpsk_with_the_quadrature_part_half_a_symbol_late() -> None:
    signal = modulate("OQPSK", open_cell("OQPSK"), ROLL_OFF).astype(np.complex128)
    in_time = signal.real + 1j * np.roll(signal.imag, -4, axis=1)
    symbols = match_symbols(in_time, ROLL_OFF)
    np.testing.assert_allclose(np.abs(symbols.real), np.sqrt(0.5), rtol=1e-4)
    np.testing.assert_allclose(np.abs(symbols.imag), np.sqrt(0.5), rtol=1e-4)
    assert np.abs(match_symbols(signal, ROLL_OFF)).std() > 0.1


def test_gmsk_has_a_constant_envelope_and_turns_a_quarter_turn_per_symbol_at_most() -> None:
    signal = modulate("GMSK", open_cell("GMSK"), ROLL_OFF)[:, 128:-128]
    np.testing.assert_allclose(np.abs(signal), 1, rtol=1e-5)
    steps = np.abs(np.angle(signal[:, 8:] * signal[:, :-8].conj()))
    assert steps.max() == pytest.approx(np.pi / 2, rel=0.02)


def test_fm_has_a_constant_envelope_around_the_carrier_of_zero() -> None:
    signal = modulate("FM", open_cell("FM"), np.full(512, 0.2))[:, 128:-128]
    np.testing.assert_allclose(np.abs(signal), 1, rtol=1e-5)
    frequency = np.angle(signal[:, 1:] * signal[:, :-1].conj()) / (2 * np.pi)
    assert frequency.std() == pytest.approx(0.1 * 75_000 / 200_000, rel=0.15)
    assert abs(frequency.mean()) < 0.1 * frequency.std()


@pytest.mark.parametrize("class_name", ["AM-SSB-WC", "AM-DSB-WC"])
def test_the_carrier_of_am_is_a_line_at_zero_frequency(class_name: str) -> None:
    spectrum = np.abs(np.fft.fft(make_frames(class_name, 30) * np.hanning(FRAME_LENGTH), axis=1))
    bins = spectrum.argmax(axis=1)
    assert np.minimum(bins, FRAME_LENGTH - bins).max() <= 1


def test_double_sideband_is_real_and_single_sideband_has_none_below_the_carrier() -> None:
    window = np.hanning(1024)
    double = modulate("AM-DSB-SC", open_cell("AM-DSB-SC"), np.full(256, 0.2))[:, 128:-128]
    assert np.abs(double.imag).max() == 0
    single = modulate("AM-SSB-SC", open_cell("AM-SSB-SC"), np.full(256, 0.2))[:, 128:-128]
    power = np.mean(np.abs(np.fft.fft(single * window, axis=1)) ** 2, axis=0)
    assert power[4:512].sum() > 1000 * power[513:-3].sum()
