from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from search.loop import run_search
from search.optuna_storage import open_optuna_storage
from search.study import StudyError, adopt_trials, match_study, open_study
from storage.builds import load_builds
from storage.database import Database
from storage.evaluations import load_evaluations
from storage.studies import load_study_record, record_study
from tests.search.search_study import DATA, complete, make_search, queue_small_build, small_config


def params(study: optuna.Study, first: int = 0) -> list[dict[str, object]]:
    return [trial.params for trial in study.get_trials()[first:]]


def test_text_fingerprint_and_provenance_are_kept_with_the_study(sqlite: Database) -> None:
    config = small_config()
    open_study(config, sqlite, {**DATA, "git_commit": "0123abc"})
    record = load_study_record(sqlite, "small")
    assert record is not None
    assert record.text == config.text
    assert record.fingerprint == config.fingerprint
    assert record.provenance == {**DATA, "git_commit": "0123abc"}
    assert record.created_at <= datetime.now(UTC)


def test_other_space_under_the_same_name_is_refused(sqlite: Database) -> None:
    open_study(small_config(), sqlite, DATA)
    with pytest.raises(StudyError, match=r"study.name is small; this study was started on .* expected a new name"):
        match_study(small_config("4"), sqlite, DATA)


SEVERAL = {
    "seed: 3, sampler: random": "seed: 4, sampler: nsga2, candidates: 7",
    "workers:": "training: {batch_size: 9}\nworkers:",
}


@pytest.mark.parametrize(
    ("replacements", "change"),
    [
        ({"seed: 3": "seed: 2"}, "study.seed is 2, it was 3;"),
        (
            {"workers:": "constraints: {inference_cost: {at_most: 0.5}}\nworkers:"},
            "constraints.inference_cost.at_most is 0.5, it was not set;",
        ),
        (
            SEVERAL,
            'study.candidates is 7, it was not set; study.sampler is "nsga2", it was "random"; '
            "study.seed is 4, it was 3; and 1 more;",
        ),
    ],
)
def test_what_was_changed_is_named(sqlite: Database, replacements: dict[str, str], change: str) -> None:
    open_study(small_config(), sqlite, DATA)
    with pytest.raises(StudyError) as error:
        match_study(small_config(**replacements), sqlite, DATA)
    assert f"otherwise: {change} expected a new name" in str(error.value)


def test_a_changed_block_is_named_by_its_place(sqlite: Database) -> None:
    open_study(small_config(), sqlite, DATA)
    with pytest.raises(StudyError, match=r"space\.blocks\[\d\]\.kernel_size is 4, it was 2; expected"):
        match_study(small_config("4"), sqlite, DATA)


def test_other_budget_under_the_same_name_goes_on(sqlite: Database) -> None:
    open_study(small_config(), sqlite, DATA)
    longer = small_config(**{"trials: 6": "trials: 9"})
    match_study(longer, sqlite, DATA)
    open_study(longer, sqlite, DATA)
    record = load_study_record(sqlite, "small")
    assert record is not None
    assert "trials: 9" in record.text


def test_other_data_under_the_same_name_is_refused(sqlite: Database) -> None:
    open_study(small_config(), sqlite, DATA)
    other = {"data_file": "/other.hdf5", "data_set": "0123", "data_frames": "9984"}
    with pytest.raises(
        StudyError, match=r"/other\.hdf5 \(9984 frames, hash 0123\); expected data\.hdf5 \(4992 frames, hash file\)"
    ):
        match_study(small_config(), sqlite, other)


def test_same_seed_gives_the_same_first_suggestions(sqlite: Database, tmp_path: Path) -> None:
    one = make_search(small_config(), sqlite, tmp_path, complete)
    other = make_search(small_config(**{"name: small": "name: other"}), sqlite, tmp_path, complete)
    run_search(one)
    run_search(other)
    assert params(one.study) == params(other.study)


@pytest.mark.parametrize("before", ["{schedule: hold, learning_rate: 0.02}", "{schedule: restarts}"])
def test_study_goes_on_with_the_defaults_that_it_began_with(sqlite: Database, before: str) -> None:
    """Where the file gives no training at all."""
    written_out = small_config(**{"workers:": f"training: {before}\nworkers:"})
    record_study(sqlite, "small", small_config().text, written_out.fingerprint, DATA)
    resumed = match_study(small_config(), sqlite, DATA)
    assert resumed.training == written_out.training
    assert resumed.fingerprint == written_out.fingerprint != small_config().fingerprint


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_resumed_study_is_not_asked_what_it_was_asked_before(sqlite: Database, tmp_path: Path, sampler: str) -> None:
    config = small_config(**{"sampler: random": f"sampler: {sampler}"})
    search = make_search(config, sqlite, tmp_path, complete)
    run_search(search)
    study = open_study(config, sqlite, DATA)
    for _ in range(6):
        config.search_space.suggest(study.ask())
    assert params(study, first=6) != params(search.study)
    assert study.user_attrs == {"sampler_seed_from_trial_0": 3, "sampler_seed_from_trial_6": 9}


def test_largest_seed_of_a_study_lets_it_be_resumed(sqlite: Database) -> None:
    config = small_config(**{"seed: 3": "seed: 4294967295"})
    open_study(config, sqlite, DATA).ask()
    assert open_study(config, sqlite, DATA).user_attrs["sampler_seed_from_trial_1"] == 0


def test_optuna_writes_ahead_like_our_own_tables(sqlite: Database) -> None:
    study = open_study(small_config(), sqlite, DATA)
    with study._storage._backend.engine.connect() as connection:  # type: ignore[attr-defined]
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 60_000


def test_finished_trials_are_not_adopted(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(small_config(), sqlite, tmp_path, complete)
    run_search(search)
    assert adopt_trials(search.study, search.config.search_space) == []


def test_study_deleted_in_optuna_dashboard_begins_from_nothing(sqlite: Database, tmp_path: Path) -> None:
    first = make_search(small_config(), sqlite, tmp_path, complete)
    run_search(first)
    queue_small_build(sqlite, trial_number=1)
    optuna.delete_study(study_name="small", storage=open_optuna_storage(sqlite))
    before = load_study_record(sqlite, "small")

    open_study(small_config(), sqlite, DATA)

    after = load_study_record(sqlite, "small")
    assert before is not None
    assert after is not None
    assert after.created_at > before.created_at
    assert load_builds(sqlite, "small") == []
    assert load_evaluations(sqlite, "small") == []
