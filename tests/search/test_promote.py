"""Trials sent to the build queue by hand: what is refused."""

from pathlib import Path

import pytest

from search.loop import run_search
from search.promote import main
from storage.builds import load_builds
from storage.database import Database
from tests.search.radioml_files import write_tones
from tests.search.search_study import complete, make_search, small_config


def test_trial_is_not_promoted_on_another_data_set_than_its_study_s(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_tones(tmp_path / "data.hdf5")
    config = small_config(**{"space:": f"dataset: {{path: {path}}}\nspace:"})
    run_search(make_search(config, sqlite, tmp_path, complete))
    write_tones(path, frames_per_cell=16)
    assert main(["small", "0", "--storage", sqlite.url]) == 2
    message = capsys.readouterr().err
    assert "data.hdf5 (9984 frames, hash " in message
    assert "; expected data.hdf5 (4992 frames, hash file), on which study small was started" in message
    assert load_builds(sqlite, "small") == []
