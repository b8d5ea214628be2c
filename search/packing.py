"""A study as one file that goes on elsewhere: what the database knows of it, and the weights a run may begin with.

The file is a ZIP archive: `study.db`, a SQLite database of this study alone, and `artifacts/`. Packed are the weights
of the front, what trials that were stopped half-way have so far, and what the next stage of a campaign begins with.
Other networks can be trained again from their record. Builds are left out.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.optuna_storage import open_optuna_storage
from search.pareto import rank_fronts
from search.processes.driver_lease import hold_study
from search.reports.study_report import StudyReport, load_study_report
from search.study import StudyError
from search.trial_attributes import read_estimate_keys
from spaces.study_config import ConfigError, parse_study_config
from storage.artifacts import ArtifactStore, write_by_rename
from storage.database import Database, DatabaseError, open_database, open_existing_database, write_sqlite_file
from storage.studies import StudyRecordError, copy_study_rows, list_studies, load_study_record

DATABASE = "study.db"

ARTIFACTS = "artifacts"

TRIAL_FOLDER = re.compile(r"\d{5}-[0-9a-f]{8}")

EXPECTED = "expected a file that search.pack wrote"


DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError)
"""What zipfile raises as it reads an archive that is damaged, encrypted or packed in another way."""


class PackError(Exception):
    """A file that holds no packed study, or a place where it cannot be put."""


@dataclass(frozen=True)
class Packed:
    """What was packed or unpacked."""

    study_name: str
    n_trials: int
    n_files: int
    """Of weights and checkpoints."""


def pack_study(database: Database, store: ArtifactStore, study_name: str, path: Path) -> Packed:
    """Writes the study to `path`; an earlier packed study there is replaced, and nothing else.

    Raises StudyError where there is none of this name, StudyLeaseError while a run drives it, and PackError.
    """
    if path.is_dir():
        raise PackError(f"{path} is a folder; expected a file to write, such as {study_name}.zip")
    if path.exists():
        open_pack(path).close()
    load_study_report(database, study_name)  # before the lease, which a study that does not exist could have, too
    with hold_study(database, study_name), tempfile.TemporaryDirectory(prefix="pack-") as folder:
        target, whole = open_database(f"sqlite:///{folder}/copy.db"), Path(folder) / DATABASE
        trials = _copy_trials(database, target, study_name, study_name)
        copy_study_rows(database, target, study_name, _list_estimates(trials))
        files = sorted(_list_files(load_study_report(target, study_name), trials, store))
        write_sqlite_file(target, whole)
        with write_by_rename(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(whole, DATABASE)
            for file in files:
                archive.write(file, f"{ARTIFACTS}/{store.relative(file)}")
    return Packed(study_name, len(trials), len(files))


def open_pack(path: Path) -> zipfile.ZipFile:
    """The archive, looked at but not read whole. Raises PackError for another kind of file."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise PackError(f"cannot read {path}: {error}; {EXPECTED}") from None
    if DATABASE not in archive.namelist():
        archive.close()
        raise PackError(f"{path} has no {DATABASE}; {EXPECTED}")
    return archive


def unpack_study(archive: zipfile.ZipFile, database: Database, store: ArtifactStore) -> Packed:
    """Puts a packed study into a database that has none of its name, and its files into the store.

    All is checked before anything is written. Where the process is killed, the study is there whole or not at all.
    Raises PackError, StudyError where the name is taken, and StudyLeaseError while another process takes it.
    """
    with tempfile.TemporaryDirectory(prefix="unpack-") as folder:
        source, name = _read_database(archive, Path(folder))
        files = _check_files(archive, name, store)
        with hold_study(database, name):
            storage, unfinished = open_optuna_storage(database), f"{name} (unpacking)"
            known = optuna.study.get_all_study_names(storage)
            if name in known or load_study_record(database, name) is not None:
                raise StudyError(f"study {name} is in the database already; expected another --storage")
            if unfinished in known:  # of a process that was killed
                optuna.delete_study(study_name=unfinished, storage=storage)
            for entry, relative in files.items():
                store.write_bytes(relative, archive.read(entry))
            trials = _copy_trials(source, database, name, unfinished)
            try:
                copy_study_rows(source, database, name, _list_estimates(trials), rename_from=unfinished)
            except StudyRecordError as error:
                raise StudyError(str(error)) from error
    return Packed(name, len(trials), len(files))


def _copy_trials(source: Database, target: Database, study_name: str, new_name: str) -> list[FrozenTrial]:
    """Optuna's part of the study."""
    storage = open_optuna_storage(target)
    optuna.copy_study(
        from_study_name=study_name,
        from_storage=open_optuna_storage(source),
        to_storage=storage,
        to_study_name=new_name,
    )
    return optuna.load_study(study_name=new_name, storage=storage).get_trials(deepcopy=False)


def _list_estimates(trials: Sequence[FrozenTrial]) -> set[str]:
    return {key for trial in trials for key in read_estimate_keys(trial)}


def _list_files(report: StudyReport, trials: Sequence[FrozenTrial], store: ArtifactStore) -> set[Path]:
    """Weights of the front and those that its heirs begin with, and the whole folders of trials that go on."""
    points = report.points
    ranks = rank_fronts([(point.accuracy, point.inference_cost) for point in points], ("maximize", "minimize"))
    best = [*report.front, *(point for point, rank in zip(points, ranks, strict=True) if rank == 0)]
    kept = {point.evaluation.checkpoint for point in best}
    kept |= {point.trial.evaluations[0].checkpoint for point in best}
    files = {path for path in map(store.path, kept) if path.is_file()}
    whole = {trial.number for trial in trials if trial.state is TrialState.RUNNING} | set(report.chosen)
    for folder in store.path(f"{report.study_name}/trials").glob("*"):
        if TRIAL_FOLDER.fullmatch(folder.name) and int(folder.name[:5]) in whole:
            files |= {file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")}
    return files


def _read_database(archive: zipfile.ZipFile, folder: Path) -> tuple[Database, str]:
    """The archive's database, opened in this folder, and the name of its study."""
    try:
        broken = archive.testzip()
        if broken is not None:
            raise PackError(f"{archive.filename} is damaged at {broken}; {EXPECTED}")
        archive.extract(DATABASE, folder)
        source = open_existing_database(f"sqlite:///{folder}/{DATABASE}")
        names = list_studies(source)
        if len(names) != 1 or names != optuna.study.get_all_study_names(open_optuna_storage(source)):
            raise PackError(f"{archive.filename} holds the studies {', '.join(names) or 'none'}; expected one")
        record = load_study_record(source, names[0])
        assert record is not None  # it was listed
        config = parse_study_config(record.text, f"study {names[0]!r}")
    except (*DAMAGED, DatabaseError, ConfigError) as error:
        raise PackError(f"cannot read {archive.filename}: {error}; {EXPECTED}") from error
    if config.study.name != names[0]:
        raise PackError(
            f"{archive.filename} has the study {names[0]!r}, whose text says {config.study.name}; {EXPECTED}"
        )
    return source, names[0]


def _check_files(archive: zipfile.ZipFile, study_name: str, store: ArtifactStore) -> dict[str, str]:
    """The artifact paths of the archive's files, by their names in it; nothing is written."""
    allowed = re.compile(rf"{ARTIFACTS}/({re.escape(study_name)}/trials/{TRIAL_FOLDER.pattern}/[\w.-]+)")
    files: dict[str, str] = {}
    for name in archive.namelist():
        if name == DATABASE:
            continue
        match = allowed.fullmatch(name)
        if match is None or name in files:
            raise PackError(
                f"{archive.filename} has the file {name}; expected {ARTIFACTS}/{study_name}/trials/TRIAL/FILE"
            )
        files[name] = store.relative(match[1])
        path = store.path(match[1])
        if path.exists() and (not path.is_file() or path.read_bytes() != archive.read(name)):
            raise PackError(f"{path} is there already with other content; expected another --artifacts")
    _check_space(archive, store)
    return files


def _check_space(archive: zipfile.ZipFile, store: ArtifactStore) -> None:
    nearest = next(folder for folder in (store.root, *store.root.parents) if folder.is_dir())
    needed, free = sum(entry.file_size for entry in archive.infolist()), shutil.disk_usage(nearest).free
    if needed > free:
        raise PackError(
            f"{archive.filename} needs {needed / 1e6:.0f} MB in {nearest}; expected at most {free / 1e6:.0f}"
        )
