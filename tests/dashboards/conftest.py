"""An empty database for demo studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.database import Database
from tests.dashboards.demo_study import open_demo_database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_demo_database(tmp_path)
