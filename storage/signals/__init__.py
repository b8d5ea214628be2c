"""The waveforms of the synthetic signal sets."""
