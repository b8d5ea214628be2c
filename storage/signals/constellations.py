"""The symbol alphabets of RadioML 2018.01A's linear modulations, as complex points of arbitrary scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.complex128]

APSK128_RADII = (1.0, 1.715, 2.118, 2.681, 2.75, 3.819)
"""DVB-S2X 128APSK at code rate 135/180, inner ring 1 (ETSI EN 302 307-2, table 13g)."""

APSK128_QUADRANT_ANGLES = (
    (83 / 1260, 103 / 560, 177 / 560, 243 / 560),
    (121 / 2520, 113 / 560, 167 / 560, 1139 / 2520),
    (23 / 280, 169 / 1008, 239 / 720, 117 / 280),
    (61 / 720, 139 / 840, 281 / 840, 349 / 840),
    (19 / 720, 563 / 2520, 199 / 720, 341 / 720),
    (
        *(37 / 1680, 11 / 168, 11 / 105, 61 / 420, 929 / 5040, 383 / 1680),
        *(49 / 180, 53 / 168, 1789 / 5040, 1993 / 5040, 73 / 168, 43 / 90),
    ),
)
"""First-quadrant angles of each of those rings, in units of pi; the other quadrants mirror them (same table)."""


def build_constellations() -> dict[str, Points]:
    """The alphabet of each linear modulation by class name; every point is sent equally often.

    ASK is unipolar and the APSK radii are those seen in the genuine data set, which are not always a standard's.
    """
    ask = {"OOK": _unipolar(2), "4ASK": _unipolar(4), "8ASK": _unipolar(8)}
    psk = {"BPSK": _psk(2), "QPSK": _psk(4), "8PSK": _psk(8), "16PSK": _psk(16), "32PSK": _psk(32)}
    apsk = {
        "16APSK": _rings((4, 1.0), (12, 2.15)),
        "32APSK": np.concatenate([_rings((4, 1.0), (4, 3.08), (16, 5.6)), _apsk32_second_ring()]),
        "64APSK": _rings((4, 1.0), (12, 2.73), (20, 4.52), (28, 6.31)),
        "128APSK": _apsk128(),
    }
    qam = {
        "16QAM": _square(4),
        "32QAM": _cross(side=6, corner=1),
        "64QAM": _square(8),
        "128QAM": _cross(side=12, corner=2),
        "256QAM": _square(16),
    }
    return {**ask, **psk, **apsk, **qam, "OQPSK": _psk(4)}


def _unipolar(n_levels: int) -> Points:
    return np.arange(n_levels).astype(np.complex128)


def _psk(n_points: int) -> Points:
    return np.asarray(np.exp(2j * np.pi * np.arange(n_points) / n_points), np.complex128)


def _rings(*rings: tuple[int, float]) -> Points:
    """Rings of (points, radius); each starts at half its own spacing, as in DVB-S2."""
    return np.concatenate([radius * np.exp(2j * np.pi * (np.arange(n) + 0.5) / n) for n, radius in rings])


def _apsk32_second_ring() -> Points:
    """The eight points of DVB-S2X 4+8+4+16APSK that share a 12-point ring's angles with the four beside them."""
    return _mirror(_polar(2.8, (1 / 12, 5 / 12)))


def _apsk128() -> Points:
    rings = zip(APSK128_RADII, APSK128_QUADRANT_ANGLES, strict=True)
    return _mirror(np.concatenate([_polar(radius, angles) for radius, angles in rings]))


def _polar(radius: float, angles: tuple[float, ...]) -> Points:
    """Points at `angles` in units of pi."""
    return np.asarray(radius * np.exp(1j * np.pi * np.array(angles)), np.complex128)


def _mirror(quadrant: Points) -> Points:
    return np.concatenate([quadrant, -quadrant.conj(), -quadrant, quadrant.conj()])


def _square(side: int) -> Points:
    levels = np.arange(1 - side, side, 2)
    return (levels[:, None] + 1j * levels[None, :]).ravel()


def _cross(side: int, corner: int) -> Points:
    """A square grid of side x side points without the corner x corner points at its four corners."""
    points = _square(side)
    limit = side - 2 * corner
    return points[(np.abs(points.real) < limit) | (np.abs(points.imag) < limit)]
