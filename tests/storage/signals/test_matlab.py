"""Checks against the parameters of MATLAB's example "Modulation Classification with Deep Learning"."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import j0

from storage.signals.cells import Cell
from storage.signals.cells import open_cell as open_labelled_cell
from storage.signals.matlab import (
    ALPHABETS,
    ANALOG_CARRIER_HZ,
    CLASS_NAMES,
    DIGITAL_CARRIER_HZ,
    RicianChannel,
    draw_channel,
    generate_cell,
    modulate,
    short_root_raised_cosine,
    transmit,
)
from storage.signals.speech import draw_speech

Complex = NDArray[np.complex128]
FREQUENCIES_HZ = np.fft.fftfreq(1024, 1 / 200e3)
DIRECT_PATH = np.array([[1, 0, 0]], np.complex128)
QUIET = RicianChannel(DIRECT_PATH, DIRECT_PATH, np.zeros(1), np.zeros(1))
"""One path of gain 1 and a perfect clock."""


def open_cell(class_name: str, seed: int = 3) -> Cell:
    return open_labelled_cell(CLASS_NAMES.index(class_name), 30, seed)


def make_frames(class_name: str, snr_db: int = 30, n_frames: int = 128) -> Complex:
    frames = np.concatenate(list(generate_cell(class_name, snr_db, 3, n_frames)))
    return (frames[..., 0] + 1j * frames[..., 1]).astype(np.complex128)


def middle_of(class_name: str, n_frames: int = 64) -> Complex:
    return modulate(class_name, open_cell(class_name), n_frames)[:, 128:-128].astype(np.complex128)


def mean_spectrum(signal: Complex) -> NDArray[np.float64]:
    return np.asarray(np.mean(np.abs(np.fft.fft(signal * np.hanning(1024), axis=1)) ** 2, axis=0), np.float64)


def test_classes_are_those_of_the_example_in_its_order() -> None:
    assert " ".join(CLASS_NAMES) == "BPSK QPSK 8PSK 16QAM 64QAM PAM4 GFSK CPFSK B-FM DSB-AM SSB-AM"


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_every_frame_has_power_one(class_name: str) -> None:
    np.testing.assert_allclose(np.mean(np.abs(make_frames(class_name)) ** 2, axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("class_name", ["BPSK", "64QAM", "PAM4", "CPFSK", "DSB-AM", "SSB-AM"])
def test_true_snr_is_the_label(class_name: str) -> None:
    spectrum = mean_spectrum(make_frames(class_name, 20, n_frames=512))
    # Between the sidebands and around them, or beyond the pulse and the largest carrier offset.
    empty = np.abs(FREQUENCIES_HZ) > 85e3 if class_name in {"DSB-AM", "SSB-AM"} else FREQUENCIES_HZ > 80e3
    noise_power = spectrum[empty].mean() / spectrum.mean()
    assert 10 * np.log10(1 / noise_power - 1) == pytest.approx(20, abs=0.5)


def test_pulse_spans_four_symbols_with_energy_one() -> None:
    taps = short_root_raised_cosine(0.35, 4)
    assert len(taps) == 33
    assert np.sum(taps**2) == pytest.approx(1)
    np.testing.assert_allclose(taps, taps[::-1])
    matched = np.convolve(taps, taps)[::8]
    assert matched.max() == pytest.approx(1)
    assert np.abs(np.delete(matched, np.argmax(matched))).max() < 0.05  # what the cut leaves of Nyquist's zeros


@pytest.mark.parametrize("class_name", list(ALPHABETS))
def test_symbols_behind_the_matched_filter_and_an_equalizer_are_points_of_the_alphabet(class_name: str) -> None:
    signal = modulate(class_name, open_cell(class_name), 16).astype(np.complex128)
    padded = np.zeros(signal.shape[1])
    padded[:33] = short_root_raised_cosine(0.35, 4)
    pulse = np.fft.fft(np.roll(padded, -16)).real
    matched = (np.fft.fft(signal, axis=1) * pulse).reshape(16, 8, 160).sum(axis=1)  # folded at the symbol rate
    symbols = np.fft.ifft(matched / (pulse**2).reshape(8, 160).sum(axis=0), axis=1)
    distance = np.abs(symbols[..., None] - ALPHABETS[class_name]).min(axis=-1)
    assert distance.max() < 1e-4
    np.testing.assert_allclose(np.mean(np.abs(ALPHABETS[class_name]) ** 2), 1)


@pytest.mark.parametrize(("class_name", "modulation_index"), [("GFSK", 1.0), ("CPFSK", 0.5)])
def test_keyed_frequency_turns_the_phase_by_pi_h_over_each_symbol(class_name: str, modulation_index: float) -> None:
    signal = middle_of(class_name)
    np.testing.assert_allclose(np.abs(signal), 1, rtol=1e-5)
    steps = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    turns = np.abs(steps[:, 7:1015].reshape(len(signal), -1, 8).sum(axis=2))  # sample 128 begins a symbol
    np.testing.assert_allclose(turns, np.pi * modulation_index, rtol=1e-4)


def test_gfsk_is_smoother_than_cpfsk_within_a_symbol() -> None:
    gaussian, rectangular = (
        np.abs(np.angle(signal[:, 1:] * signal[:, :-1].conj())) for signal in map(middle_of, ("GFSK", "CPFSK"))
    )
    np.testing.assert_allclose(rectangular, np.pi / 16, rtol=1e-3)
    assert gaussian.max() > 1.1 * gaussian.min()
    assert gaussian.mean() == pytest.approx(np.pi / 8, rel=1e-3)


def test_broadcast_fm_deviates_by_75_khz_per_unit_of_pre_emphasised_audio() -> None:
    signal = middle_of("B-FM", 16)
    audio = 0.1 * draw_speech(open_cell("B-FM").message, 16, 1280, pre_emphasis_s=75e-6).real[:, 128:-128]
    deviation_hz = np.angle(signal[:, 1:] * signal[:, :-1].conj()) / (2 * np.pi) * 200e3
    unfolded = np.abs(audio[:, 1:]) < 1
    np.testing.assert_allclose(deviation_hz[unfolded], 75e3 * audio[:, 1:][unfolded], atol=30)
    np.testing.assert_allclose(np.abs(signal), 1, rtol=1e-5)


@pytest.mark.parametrize("class_name", ["DSB-AM", "SSB-AM"])
def test_am_is_real_before_the_channel_and_lies_at_50_khz(class_name: str) -> None:
    signal = middle_of(class_name, 512)
    assert np.abs(signal.imag).max() == 0
    spectrum = mean_spectrum(signal)
    near = np.abs(np.abs(FREQUENCIES_HZ) - 50e3) < 16e3
    assert spectrum[near].sum() > 0.999 * spectrum.sum()


def test_dsb_has_equal_sidebands_and_ssb_the_lower_one() -> None:
    upper = (FREQUENCIES_HZ > 50.8e3) & (FREQUENCIES_HZ < 66e3)
    lower = (FREQUENCIES_HZ > 34e3) & (FREQUENCIES_HZ < 49.2e3)
    double, single = (mean_spectrum(middle_of(name, 2048)) for name in ("DSB-AM", "SSB-AM"))
    assert double[upper].sum() == pytest.approx(double[lower].sum(), rel=0.02)
    assert 10 * np.log10(single[lower].sum() / single[upper].sum()) > 40


def test_path_gains_have_the_powers_and_the_k_factor_of_the_example() -> None:
    gains = draw_channel(open_cell("BPSK"), 40_000).gains_at_start
    power = np.mean(np.abs(gains) ** 2, axis=0)
    assert power.sum() == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(10 * np.log10(power / power[0]), [0, -2, -10], atol=0.15)
    means = np.abs(gains.mean(axis=0)) ** 2
    assert means[0] / gains[:, 0].var() == pytest.approx(4, rel=0.05)
    assert (means[1:] / power[1:]).max() < 0.001


def test_gains_move_within_a_frame_as_4_hz_of_doppler_let_them() -> None:
    channel = draw_channel(open_cell("BPSK"), 100_000)
    start, end = channel.gains_at_start[:, 1], channel.gains_at_end[:, 1]
    moved = np.mean(np.abs(end - start) ** 2) / np.mean(np.abs(start) ** 2)
    assert moved == pytest.approx(2 * (1 - j0(2 * np.pi * 4 * 1024 / 200e3)), rel=0.03)


def test_clock_offset_is_up_to_5_ppm_and_frames_start_within_a_symbol() -> None:
    channel = draw_channel(open_cell("BPSK"), 20_000)
    assert np.abs(channel.clock_offset).max() == pytest.approx(5e-6, rel=0.01)
    assert abs(channel.clock_offset.mean()) < 1e-7
    assert np.unique(channel.offset_samples).tolist() == list(range(9))


def test_a_tone_meets_the_three_delayed_paths_at_the_middle_of_the_frame() -> None:
    gains = np.array([[0.8 + 0.1j, -0.3j, 0.2]])
    frequency = 80 / 1280
    tone = np.exp(2j * np.pi * frequency * (np.arange(1280) - 128))[None].astype(np.complex64)
    frame = transmit(tone, replace(QUIET, gains_at_start=gains, gains_at_end=gains), DIGITAL_CARRIER_HZ)
    expected = sum(g * np.exp(-2j * np.pi * frequency * d) for g, d in zip(gains[0], (0, 1.8, 3.4), strict=True))
    np.testing.assert_allclose(frame[0] * np.exp(-2j * np.pi * frequency * np.arange(1024)), expected, atol=1e-5)


def test_gains_at_both_ends_of_a_frame_are_those_drawn() -> None:
    at_end = np.array([[0.5j, 0, 0]])
    frame = transmit(np.ones((1, 1280), np.complex64), replace(QUIET, gains_at_end=at_end), DIGITAL_CARRIER_HZ)
    np.testing.assert_allclose(frame[0, [0, 512]], [1, 0.5 + 0.25j], atol=1e-5)
    assert frame[0, -1] == pytest.approx(0.5j, abs=2e-3)


@pytest.mark.parametrize("carrier_hz", [DIGITAL_CARRIER_HZ, ANALOG_CARRIER_HZ])
def test_a_clock_that_is_4_ppm_fast_lowers_the_carrier_by_4_ppm(carrier_hz: float) -> None:
    frame = transmit(np.ones((1, 1280), np.complex64), replace(QUIET, clock_offset=np.array([4e-6])), carrier_hz)
    turned = np.unwrap(np.angle(frame[0]))
    assert (turned[-1] - turned[0]) / (2 * np.pi * 1023) * 200e3 == pytest.approx(-4e-6 * carrier_hz, rel=1e-3)


def test_the_same_clock_reads_the_samples_too_early() -> None:
    tone = np.exp(2j * np.pi * 0.25 * (np.arange(1280) - 640))[None].astype(np.complex64)
    frame = transmit(tone, replace(QUIET, clock_offset=np.array([5e-6])), carrier_hz=0.0)
    phase_error = np.angle(frame[0] * tone[0, 128:-128].conj())
    assert phase_error[-1] - phase_error[0] == pytest.approx(-5e-6 * 1023 * np.pi / 2, rel=0.02)
