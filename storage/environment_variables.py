"""The names of the environment variables that our commands read."""

from __future__ import annotations

FINN_VARIABLE = "FPGA_FINN"
"""An existing FINN: what --finn says."""

DATA_FILE_VARIABLE = "RADIOML_2018_01A"
"""The path of the data file, where a study names none."""

DASHBOARD_TOKEN_VARIABLE = "DASHBOARD_TOKEN"
"""The secret of the dashboard: what --token says."""
