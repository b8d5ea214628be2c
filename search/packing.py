"""A study as one file that goes on elsewhere: what the database knows of it, and the weights a run may begin with.

The file is a ZIP archive: `study.db`, a SQLite database of this study alone, and `artifacts/`. Packed are the weights
of the front, what trials that run now have so far, and what the next stage of a campaign begins with. Other networks
can be trained again from their record. Builds are left out.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import optuna
from optuna.trial import TrialState

from search.optuna_storage import open_optuna_storage
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError
from search.trial_attributes import read_estimate_keys
from storage.artifacts import ArtifactStore, write_by_rename
from storage.database import Database, open_database, open_existing_database, write_sqlite_file
from storage.studies import copy_study_rows, forget_study, list_studies

DATABASE = "study.db"

ARTIFACTS = "artifacts"


class PackError(Exception):
    """A file that holds no packed study."""


@dataclass(frozen=True)
class Packed:
    """What was packed or unpacked."""

    study_name: str
    n_trials: int
    n_files: int
    """Of weights and checkpoints."""


def pack_study(database: Database, store: ArtifactStore, study_name: str, path: Path) -> Packed:
    """Writes the study to `path`, also while a run goes on; what that finishes later is left out.

    Raises StudyError where there is none of this name.
    """
    report = load_study_report(database, study_name)
    with tempfile.TemporaryDirectory(prefix="pack-") as folder:
        target, whole = open_database(f"sqlite:///{folder}/copy.db"), Path(folder) / DATABASE
        trials = _copy_study(database, target, study_name)
        write_sqlite_file(target, whole)
        files = sorted(_list_files(report, trials, store))
        with write_by_rename(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(whole, DATABASE)
            for file in files:
                archive.write(file, f"{ARTIFACTS}/{store.relative(file)}")
    return Packed(study_name, len(trials), len(files))


def unpack_study(path: Path, database: Database, store: ArtifactStore) -> Packed:
    """Puts a packed study into a database that has none of its name, and its files into the store.

    Raises PackError for another kind of file, StudyError where the name is taken, ArtifactError and DatabaseError.
    """
    with _open(path) as archive, tempfile.TemporaryDirectory(prefix="unpack-") as folder:
        archive.extract(DATABASE, folder)
        source = open_existing_database(f"sqlite:///{folder}/{DATABASE}")
        names = list_studies(source)
        if len(names) != 1:
            raise PackError(f"{path} holds {len(names)} studies; expected one")
        files = _check_files(archive, names[0], store, path)
        if names[0] in optuna.study.get_all_study_names(open_optuna_storage(database)):
            raise StudyError(
                f"study {names[0]} is in the database already; expected another --storage, or a database without it"
            )
        for name, relative in files.items():
            store.write_bytes(relative, archive.read(name))
        trials = _copy_study(source, database, names[0])
    return Packed(names[0], len(trials), len(files))


def _copy_study(source: Database, target: Database, study_name: str) -> list[optuna.trial.FrozenTrial]:
    """Optuna's part first: a run that goes on meanwhile has then measured more than it told, as one that was killed."""
    storage = open_optuna_storage(target)
    try:
        optuna.copy_study(from_study_name=study_name, from_storage=open_optuna_storage(source), to_storage=storage)
        trials = optuna.load_study(study_name=study_name, storage=storage).get_trials(deepcopy=False)
        copy_study_rows(source, target, study_name, {key for trial in trials for key in read_estimate_keys(trial)})
    except BaseException:
        if study_name in optuna.study.get_all_study_names(storage):
            optuna.delete_study(study_name=study_name, storage=storage)
        forget_study(target, study_name)
        raise
    return trials


def _list_files(report: StudyReport, trials: list[optuna.trial.FrozenTrial], store: ArtifactStore) -> set[Path]:
    on_front = {point.trial_number for point in report.front}
    kept = {point.evaluation.checkpoint for point in report.front}
    kept |= {trial.evaluations[0].checkpoint for trial in report.trials if trial.trial_number in on_front}
    files = {path for path in map(store.path, kept) if path.is_file()}
    whole = {trial.number for trial in trials if trial.state is TrialState.RUNNING} | set(report.chosen)
    parent = store.path(f"{report.study_name}/trials")
    for folder in parent.iterdir() if parent.is_dir() else ():
        if int(folder.name.partition("-")[0]) in whole:
            files |= {file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")}
    return files


def _open(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise PackError(f"cannot read {path}: {error}; expected a file that search.pack wrote") from None
    if DATABASE not in archive.namelist():
        archive.close()
        raise PackError(f"{path} has no {DATABASE}; expected a file that search.pack wrote")
    return archive


def _check_files(archive: zipfile.ZipFile, study_name: str, store: ArtifactStore, path: Path) -> dict[str, str]:
    """The artifact paths of the archive's files, by their names in it."""
    files: dict[str, str] = {}
    for name in archive.namelist():
        if name == DATABASE:
            continue
        relative = PurePosixPath(name).relative_to(ARTIFACTS) if name.startswith(f"{ARTIFACTS}/") else None
        if relative is None or relative.parts[:2] != (study_name, "trials") or ".." in relative.parts:
            raise PackError(f"{path} has the file {name}; expected {ARTIFACTS}/{study_name}/trials/...")
        files[name] = store.relative(str(relative))
    return files
