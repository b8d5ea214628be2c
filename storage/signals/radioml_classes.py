"""What RadioML 2018.01A holds: its classes, its SNR labels, the length of its frames; no waveform is computed here."""

from __future__ import annotations

CLASS_NAMES = (
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
    *("16APSK", "32APSK", "64APSK", "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    *("AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
)
"""Class names in label order: that of the data set's one-hot Y, not of the classes.txt shipped with it."""

SNRS_DB = tuple(range(-20, 32, 2))
"""The data set's SNR labels in dB."""

FRAME_LENGTH = 1024
"""Complex samples per frame."""
