"""What frames of the genuine RadioML 2018.01A look like at +30 dB, class by class, as others measured it.

Source: the public repository The-4Script/RadioFry, research_memory/experiments/radioml2018_2026_09/measurements,
ds2_structure.json and ds2_signal.json. Medians are over the first 256 frames of a cell, power over the first 400.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Statistics:
    """Statistics of one class's frames."""

    impropriety: float
    """Median of |E z**2| / E |z|**2, where z is the frame without its mean."""
    near_zero: float
    """Median share of samples with |z| below a fifth of its root mean square."""
    amplitude_variation: float
    """Median of the standard deviation of |z| over its mean."""
    mean_share: float
    """Median share of the mean in the frame's power."""
    band_width: float
    """What 99 % of the mean power spectrum of z takes, as a part of the sample rate."""
    power: float
    """Mean over the frames."""
    power_spread: float
    """Standard deviation over the frames."""


GENUINE = {
    "OOK": Statistics(0.99333, 0.07422, 0.46041, 0.53515, 0.12695, 2.14063, 0.21572),
    "4ASK": Statistics(0.98970, 0.10010, 0.60202, 0.68123, 0.12695, 3.05927, 0.31181),
    "8ASK": Statistics(0.98621, 0.11572, 0.61652, 0.73420, 0.12695, 3.68132, 0.38008),
    "BPSK": Statistics(0.99598, 0.08203, 0.46658, 0.00391, 0.12695, 1.00411, 0.02605),
    "QPSK": Statistics(0.06729, 0.02441, 0.31427, 0.00568, 0.12695, 1.00575, 0.01935),
    "8PSK": Statistics(0.07969, 0.01172, 0.29982, 0.00584, 0.12695, 1.00560, 0.01936),
    "16PSK": Statistics(0.08281, 0.01172, 0.30452, 0.00597, 0.12695, 1.00291, 0.01937),
    "32PSK": Statistics(0.08610, 0.01270, 0.30268, 0.00565, 0.12695, 1.00450, 0.02032),
    "16APSK": Statistics(0.08541, 0.01758, 0.37472, 0.00649, 0.12695, 1.00531, 0.03368),
    "32APSK": Statistics(0.09934, 0.03418, 0.45135, 0.00706, 0.12695, 1.00189, 0.04442),
    "64APSK": Statistics(0.08924, 0.02441, 0.40995, 0.00505, 0.12695, 1.00564, 0.04125),
    "128APSK": Statistics(0.09121, 0.02344, 0.42343, 0.00549, 0.12695, 1.00317, 0.04412),
    "16QAM": Statistics(0.08768, 0.02246, 0.40971, 0.00610, 0.12695, 1.00497, 0.04141),
    "32QAM": Statistics(0.10138, 0.02441, 0.41155, 0.00770, 0.12695, 1.00251, 0.04144),
    "64QAM": Statistics(0.09017, 0.02637, 0.41930, 0.00609, 0.12695, 1.00413, 0.04304),
    "128QAM": Statistics(0.09687, 0.02539, 0.41430, 0.00581, 0.12695, 1.00681, 0.04157),
    "256QAM": Statistics(0.09417, 0.02637, 0.42408, 0.00694, 0.12695, 1.00254, 0.04358),
    "AM-SSB-WC": Statistics(0.89625, 0.05225, 0.52729, 0.99605, 0.12793, 155.895, 141.161),
    "AM-SSB-SC": Statistics(0.88422, 0.04492, 0.52408, 0.99130, 0.08887, 67.0617, 41.7103),
    "AM-DSB-WC": Statistics(0.99643, 0.06250, 0.49166, 4e-7, 0.06250, 1.00010, 0.05759),
    "AM-DSB-SC": Statistics(0.99735, 0.06250, 0.49727, 6e-7, 0.06250, 1.00483, 0.10938),
    "FM": Statistics(0.00321, 0.0, 0.00690, 4e-5, 0.02051, 1.00006, 0.00103),
    "GMSK": Statistics(0.07580, 0.0, 0.10686, 0.00766, 0.12207, 1.00480, 0.00661),
    "OQPSK": Statistics(0.09488, 0.03418, 0.39305, 0.00509, 0.12695, 1.00491, 0.01918),
}


def measure(frames: NDArray[np.complex128]) -> Statistics:
    """The same statistics of frames (n, 1024)."""
    power = np.mean(np.abs(frames) ** 2, axis=1)
    mean = frames.mean(axis=1, keepdims=True)
    centred = frames - mean
    amplitude = np.abs(centred)
    centred_power = np.mean(amplitude**2, axis=1)
    spectrum = np.fft.fftshift(np.mean(np.abs(np.fft.fft(centred, axis=1)) ** 2, axis=0))
    below = np.cumsum(spectrum) / spectrum.sum()
    return Statistics(
        impropriety=float(np.median(np.abs(np.mean(centred**2, axis=1)) / centred_power)),
        near_zero=float(np.median(np.mean(amplitude < 0.2 * np.sqrt(centred_power)[:, None], axis=1))),
        amplitude_variation=float(np.median(amplitude.std(axis=1) / amplitude.mean(axis=1))),
        mean_share=float(np.median(np.abs(mean[:, 0]) ** 2 / power)),
        band_width=float(np.searchsorted(below, 0.995) - np.searchsorted(below, 0.005)) / frames.shape[1],
        power=float(power.mean()),
        power_spread=float(power.std()),
    )
