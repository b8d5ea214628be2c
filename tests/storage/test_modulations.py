"""Checks of the generated waveforms against what genuine RadioML 2018.01A frames show; no trained network is needed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.cells import Cell
from storage.cells import open_cell as open_labelled_cell
from storage.constellations import build_constellations
from storage.modulations import (
    CLASS_NAMES,
    FRAME_LENGTH,
    SNRS_DB,
    draw_channel,
    generate_cell,
    modulate,
)
from storage.pulse_shaping import SAMPLES_PER_SYMBOL, root_raised_cosine

Complex = NDArray[np.complex128]
LINEAR_CLASSES = CLASS_NAMES[:17]


def make_frames(class_name: str, snr_db: int, n_frames: int = 64, seed: int = 2018) -> Complex:
    blocks = np.concatenate(list(generate_cell(class_name, snr_db, seed, n_frames)))
    return (blocks[..., 0] + 1j * blocks[..., 1]).astype(np.complex128)


def open_cell(class_name: str, snr_db: int, seed: int) -> Cell:
    return open_labelled_cell(CLASS_NAMES.index(class_name), snr_db, seed)


def derotate(signal: NDArray[np.complex64], cell: Cell) -> Complex:
    """Undo the carrier phase and offset that the same random numbers gave these frames."""
    channel = draw_channel(cell, len(signal))
    angle = channel.phase[:, None] + channel.carrier_offset[:, None] * np.arange(FRAME_LENGTH)
    return np.asarray(signal * np.exp(-1j * angle), np.complex128)


def match_symbols(signal: Complex, cell: Cell, order: int = 3) -> Complex:
    """Symbols behind the filter that makes a Nyquist pulse of RRC**order; those at the frame's ends are dropped."""
    channel = draw_channel(cell, len(signal))
    rates = np.asarray(np.fft.fftfreq(FRAME_LENGTH) * SAMPLES_PER_SYMBOL, np.float64)
    nyquist = root_raised_cosine(rates, np.full(len(signal), 0.25)) ** 2
    pulse = root_raised_cosine(rates, channel.roll_off).astype(np.float64) ** order
    advance = np.exp(2j * np.pi / SAMPLES_PER_SYMBOL * channel.delay_samples[:, None] * rates)
    inverse = np.divide(nyquist, pulse, out=np.zeros_like(pulse), where=nyquist > 1e-6)
    matched = np.fft.ifft(np.fft.fft(signal, axis=1) * inverse * advance, axis=1)
    return matched[:, ::SAMPLES_PER_SYMBOL][:, 24:-24]


def test_classes_stand_in_the_order_of_the_one_hot_labels() -> None:
    # The order of ITU PS-007; the classes.txt shipped with the data has another, wrong one.
    expected = (
        *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "16APSK", "32APSK", "64APSK", "128APSK"),
        *("16QAM", "32QAM", "64QAM", "128QAM", "256QAM", "AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM"),
        *("GMSK", "OQPSK"),
    )
    assert expected == CLASS_NAMES
    assert list(SNRS_DB) == list(range(-20, 31, 2))
    assert len(SNRS_DB) == 26


@pytest.mark.parametrize(
    ("class_name", "n_points"),
    [
        *(("OOK", 2), ("4ASK", 4), ("8ASK", 8), ("BPSK", 2), ("QPSK", 4), ("8PSK", 8), ("16PSK", 16), ("32PSK", 32)),
        *(("16APSK", 16), ("32APSK", 32), ("64APSK", 64), ("128APSK", 128)),
        *(("16QAM", 16), ("32QAM", 32), ("64QAM", 64), ("128QAM", 128), ("256QAM", 256), ("OQPSK", 4)),
    ],
)
def test_constellation_has_its_number_of_distinct_points(class_name: str, n_points: int) -> None:
    points = build_constellations()[class_name]
    assert len(points) == n_points
    assert len(np.unique(np.round(points, 9))) == n_points


@pytest.mark.parametrize("class_name", LINEAR_CLASSES[3:])
def test_psk_apsk_and_qam_alphabets_have_no_mean(class_name: str) -> None:
    assert abs(build_constellations()[class_name].mean()) < 1e-12


@pytest.mark.parametrize(
    ("class_name", "rings"),
    [
        ("16APSK", {1.0: 4, 2.15: 12}),
        ("32APSK", {1.0: 4, 2.6: 8, 2.86: 4, 5.6: 16}),
        ("64APSK", {0.2: 4, 0.52: 12, 0.878: 20, 1.279: 28}),
        ("128APSK", {1.0: 16, 1.715: 16, 2.118: 16, 2.681: 16, 2.75: 16, 3.819: 48}),
    ],
)
def test_apsk_rings_are_those_of_genuine_frames(class_name: str, rings: dict[float, int]) -> None:
    radii, counts = np.unique(np.round(np.abs(build_constellations()[class_name]), 9), return_counts=True)
    assert dict(zip(radii.tolist(), counts.tolist(), strict=True)) == rings


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_a_frame_depends_on_seed_class_snr_and_index_alone(class_name: str) -> None:
    few, many = make_frames(class_name, 4, n_frames=3), make_frames(class_name, 4, n_frames=300)
    np.testing.assert_array_equal(few, many[:3])


def test_frames_of_other_seeds_classes_snrs_and_indices_differ() -> None:
    frames = [make_frames("QPSK", 30, 2), make_frames("8PSK", 30, 2), make_frames("QPSK", 28, 2)]
    frames.append(make_frames("QPSK", 30, 2, seed=2019))
    leading = np.concatenate(frames)[:, 0]
    assert len(np.unique(leading)) == 8


@pytest.mark.parametrize("snr_db", [-20, 0, 30])
@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_complex_standard_deviation_of_each_frame_is_one(class_name: str, snr_db: int) -> None:
    np.testing.assert_allclose(make_frames(class_name, snr_db).std(axis=1), 1, rtol=2e-4)


@pytest.mark.parametrize("class_name", ["OOK", "QPSK", "256QAM", "AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "FM", "GMSK"])
def test_true_snr_in_db_is_twice_the_label_and_counts_the_mean(class_name: str) -> None:
    frames = make_frames(class_name, 10, n_frames=256)
    window = np.hanning(FRAME_LENGTH)
    spectrum = np.abs(np.fft.fft(frames * window, axis=1)) ** 2 / np.sum(window**2)
    out_of_band = np.abs(np.fft.fftfreq(FRAME_LENGTH)) > 0.3
    noise_power = spectrum[:, out_of_band].mean(axis=1)
    signal_power = np.mean(np.abs(frames) ** 2, axis=1) - noise_power
    snr_db = 10 * np.log10(signal_power.sum() / noise_power.sum())
    assert snr_db == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize(
    ("class_name", "mean_power_over_variance"), [("OOK", 1.0), ("4ASK", 9 / 5), ("8ASK", 7 / 3), ("BPSK", 0.0)]
)
def test_ask_is_unipolar_and_keeps_its_mean(class_name: str, mean_power_over_variance: float) -> None:
    variance_through_pulse = 1 - 0.375 * 0.425  # integral of |RRC(0.425)**3|**2 over frequency in symbol rates
    expected = 1 + mean_power_over_variance / variance_through_pulse
    frames = make_frames(class_name, 30, n_frames=512)
    assert np.mean(np.abs(frames) ** 2) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("class_name", ["BPSK", "QPSK", "8PSK", "16PSK", "32PSK"])
def test_psk_symbols_lie_on_a_circle_behind_the_matching_filter(class_name: str) -> None:
    signal = modulate(class_name, open_cell(class_name, 30, 1), 32).astype(np.complex128)
    radius = np.abs(match_symbols(signal, open_cell(class_name, 30, 1)))
    assert np.median(radius.std(axis=1) / radius.mean(axis=1)) < 0.01


def test_psk_symbols_leave_the_circle_behind_a_filter_for_two_root_raised_cosines() -> None:
    signal = modulate("8PSK", open_cell("8PSK", 30, 1), 32).astype(np.complex128)
    radius = np.abs(match_symbols(signal, open_cell("8PSK", 30, 1), order=2))
    assert 0.03 < np.median(radius.std(axis=1) / radius.mean(axis=1)) < 0.12


@pytest.mark.parametrize("class_name", LINEAR_CLASSES)
def test_matched_symbols_are_points_of_the_constellation(class_name: str) -> None:
    cell, again = open_cell(class_name, 30, 3), open_cell(class_name, 30, 3)
    signal = modulate(class_name, cell, 8)
    symbols = match_symbols(derotate(signal, again), open_cell(class_name, 30, 3)).ravel()
    points = build_constellations()[class_name]
    nearest = np.abs(symbols[:, None] - points[None, :]).min(axis=1)
    assert np.percentile(nearest, 95) < 0.02 * np.abs(points).max()


def test_oqpsk_is_qpsk_with_the_quadrature_part_half_a_symbol_late() -> None:
    turned = derotate(modulate("OQPSK", open_cell("OQPSK", 30, 5), 32), open_cell("OQPSK", 30, 5))
    in_time = turned.real + 1j * np.roll(turned.imag, -SAMPLES_PER_SYMBOL // 2, axis=1)
    radius = np.abs(match_symbols(in_time, open_cell("OQPSK", 30, 5)))
    late_radius = np.abs(match_symbols(turned, open_cell("OQPSK", 30, 5)))
    assert np.median(radius.std(axis=1)) < 0.01
    assert np.median(late_radius.std(axis=1)) > 0.1


@pytest.mark.parametrize(("class_name", "lines"), [("FM", {32}), ("AM-DSB-WC", {32, 992}), ("AM-DSB-SC", {32, 992})])
def test_fm_and_dsb_have_their_line_at_a_32nd_of_the_sample_rate(class_name: str, lines: set[int]) -> None:
    spectrum = np.mean(np.abs(np.fft.fft(make_frames(class_name, 30, n_frames=256), axis=1)) ** 2, axis=0)
    assert set(np.argsort(spectrum)[-len(lines) :].tolist()) == lines


def test_fm_has_a_constant_envelope() -> None:
    np.testing.assert_allclose(np.abs(make_frames("FM", 30)), 1, rtol=0.02)


def test_dsb_quadrature_part_vanishes_when_the_phase_is_undone() -> None:
    turned = derotate(modulate("AM-DSB-WC", open_cell("AM-DSB-WC", 30, 5), 16), open_cell("AM-DSB-WC", 30, 5))
    assert np.abs(turned.imag).max() < 1e-5
    assert np.abs(turned.real).max() > 0.8


def test_gmsk_steps_its_phase_by_a_quarter_radian_per_sample_at_most() -> None:
    frames = make_frames("GMSK", 30)
    steps = np.abs(np.angle(frames[:, 1:] * frames[:, :-1].conj()))
    assert np.percentile(steps, 75) == pytest.approx(0.25, abs=0.02)
    assert np.abs(frames).std() < 0.2


# Quartiles and extremes of genuine in-phase samples at +30 dB: +-6 and +-40 with carrier, +-4.7 and +-20 without.
@pytest.mark.parametrize(("class_name", "quartile", "extreme"), [("AM-SSB-WC", 6.0, 40), ("AM-SSB-SC", 4.7, 20)])
def test_ssb_amplitudes_are_those_of_genuine_frames(class_name: str, quartile: float, extreme: float) -> None:
    in_phase = np.abs(make_frames(class_name, 30, n_frames=4096).real)
    assert np.median(in_phase) == pytest.approx(quartile, rel=0.15)
    assert np.percentile(in_phase, 99) == pytest.approx(extreme, rel=0.15)


def test_carrier_offset_timing_and_roll_off_have_the_spread_of_genuine_frames() -> None:
    channel = draw_channel(open_cell("QPSK", 0, 1), 20_000)
    assert channel.carrier_offset.std() == pytest.approx(1e-4, rel=0.03)
    assert channel.roll_off.mean() == pytest.approx(0.42, abs=0.01)
    assert (channel.roll_off.min(), channel.roll_off.max()) == (
        pytest.approx(0.37, abs=1e-3),
        pytest.approx(0.48, abs=1e-3),
    )
    assert np.unique(channel.delay_samples).tolist() == [i + 0.45 for i in range(SAMPLES_PER_SYMBOL)]
