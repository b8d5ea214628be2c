"""Keeps plots and notes in Optuna dashboard in step with the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial
from optuna_dashboard import save_note, save_plotly_graph_object
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._note import get_note_from_system_attrs

from dashboards.pareto_figure import pareto_front_figure
from dashboards.pareto_front import ParetoFrontData, pareto_front_data
from dashboards.study_note import point_note, points_note, study_note
from dashboards.trial_note import TrialFacts, trial_note
from search import trial_attributes
from search.measured_trials import MeasuredTrial, group_by_trial
from search.points_study import read_key, read_search_study_name
from search.reports.study_report import StudyReport, make_study_report
from spaces.study_config import parse_study_config
from storage.builds import load_builds
from storage.database import Database
from storage.evaluations import load_evaluations
from storage.records import Build, Evaluation
from storage.studies import StudyRecord, load_study_record

logger = logging.getLogger(__name__)

PARETO_FRONT_ID = "pareto-front"
"""Id of the second objective's plot; other plots append their objective. A new plot replaces that of the same id."""

MAX_WRITES = 50
"""Most writes per study and refresh, because the pages wait for them. The rest follows in the next refresh."""

OWN_NOTES_HEADING = "### Your notes (what stands below this line is kept)"


class Refresher:
    """Writes the plots and notes of all studies, or of one. Writes only what changed."""

    def __init__(self, storage: BaseStorage, database: Database, study_name: str | None) -> None:
        self._storage = storage
        self._database = database
        self._study_name = study_name
        self._seen: dict[str, object] = {}

    def refresh_until(self, stop: threading.Event, interval_s: float, give_up: threading.Event) -> None:
        """Refreshes every `interval_s` seconds, and a last time after `stop`. `give_up` cuts a refresh short.

        Logs a failure once, and tries again.
        """
        last_failure = ""
        is_last = False
        while not is_last:
            is_last = stop.is_set()
            try:
                self.refresh(give_up)
                last_failure = ""
            except Exception as error:  # the thread's outermost frame: pages stay up, the next try may work
                failure = f"{type(error).__name__}: {error}"
                if failure != last_failure:
                    logger.warning("plots and notes cannot be updated: %s", failure)
                last_failure = failure
            stop.wait(interval_s)

    def refresh(self, stop: threading.Event) -> int:
        """Updates plots and notes, and returns how many it wrote. Stops early at `stop`."""
        names = optuna.get_all_study_names(self._storage)
        if self._study_name is not None:
            names = [name for name in names if self._study_name in (name, read_search_study_name(name))]
        return sum(self._refresh_study(name, stop) for name in names)

    def _refresh_study(self, name: str, stop: threading.Event) -> int:
        searched = read_search_study_name(name)
        if searched is not None:
            return self._refresh_points_study(name, searched, stop)
        record = load_study_record(self._database, name)
        if record is None:  # of another program, or made in the dashboard
            return 0
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=RandomSampler())  # never asked
        builds = load_builds(self._database, name)
        things = _write_study(study, self._database, record, builds, stop)
        return self._write_if_new(name, _state(study, record, builds), things, stop)

    def _refresh_points_study(self, name: str, searched: str, stop: threading.Event) -> int:
        if searched not in optuna.get_all_study_names(self._storage):
            return 0
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=RandomSampler())  # never asked
        state = study._study_id, len(study.get_trials(deepcopy=False))
        return self._write_if_new(name, state, _write_points_notes(study, searched, stop), stop)

    def _write_if_new(self, name: str, state: object, things: Iterable[str], stop: threading.Event) -> int:
        if self._seen.get(name) == state:
            return 0
        written = sum(1 for _ in islice(things, MAX_WRITES))
        if written < MAX_WRITES and not stop.is_set():
            self._seen[name] = state
        return written


def merge_notes(generated: str, stored: str) -> str:
    """The generated text, then the heading and people's own text. A stored note without the heading is all theirs."""
    _, heading, own = stored.partition(OWN_NOTES_HEADING)
    if not heading:
        own = stored and f"\n\n{stored}"
    return f"{generated}\n\n{OWN_NOTES_HEADING}{own}"


def _state(study: optuna.Study, record: StudyRecord, builds: Sequence[Build]) -> object:
    trials = study.get_trials(deepcopy=False)
    return record.text, tuple(trial.number for trial in trials if trial.state.is_finished()), tuple(builds)


def _write_study(
    study: optuna.Study, database: Database, record: StudyRecord, builds: Sequence[Build], stop: threading.Event
) -> Iterable[str]:
    """Yields the name of each thing it writes. Starts with what people look at first."""
    config = parse_study_config(record.text, f"study {record.name}")
    report = make_study_report(database, study, config, builds)
    attributes = study._storage.get_study_system_attrs(study._study_id)  # all notes in one read
    for index, data in enumerate(pareto_front_data(report)):
        plot_id = PARETO_FRONT_ID if index == 0 else f"{PARETO_FRONT_ID}-{data.objective.name}"
        if _write_plot(study, plot_id, data, attributes):
            yield plot_id
    if _write_note(study, None, study_note(report, config), attributes):
        yield "study note"
    for trial, facts in _all_facts(study, database, report):
        if stop.is_set():
            return
        if _write_note(study, trial, trial_note(facts), attributes):
            yield f"note of trial {trial.number}"


def _write_points_notes(study: optuna.Study, searched: str, stop: threading.Event) -> Iterable[str]:
    """Yields the name of each note it writes, those of the newest points first."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    searched_id = study._storage.get_study_id_from_name(searched)
    if _write_note(study, None, points_note(searched), attributes):
        yield "note of the points"
    for trial in reversed(study.get_trials(deepcopy=False)):
        if stop.is_set():
            return
        key = read_key(trial)
        if key is not None and _write_note(study, trial, point_note(searched, searched_id, *key), attributes):
            yield f"note of point {trial.number}"


def _write_plot(study: optuna.Study, plot_id: str, data: ParetoFrontData, attributes: Mapping[str, Any]) -> bool:
    figure = pareto_front_figure(data)
    is_new = bool(get_plotly_graph_objects(attributes).get(plot_id) != figure.to_json())
    if is_new:
        save_plotly_graph_object(study, figure, graph_object_id=plot_id)
    return is_new


def _write_note(study: optuna.Study, trial: FrozenTrial | None, text: str, attributes: Mapping[str, Any]) -> bool:
    trial_id = None if trial is None else trial._trial_id
    stored = get_note_from_system_attrs(attributes, trial_id)["body"]
    body = merge_notes(text, stored)
    if body != stored:
        save_note(study if trial_id is None else Trial(study, trial_id), body)
    return bool(body != stored)


def _all_facts(
    study: optuna.Study, database: Database, report: StudyReport
) -> Iterable[tuple[FrozenTrial, TrialFacts]]:
    evaluations = group_by_trial(load_evaluations(database, report.study_name))
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    results = {result.trial_number: result for result in report.trials}
    for trial in sorted(finished, key=_urgency(report)):
        yield trial, _facts(trial, report, results.get(trial.number), evaluations.get(trial.number, ()))


def _urgency(report: StudyReport) -> Callable[[FrozenTrial], tuple[int, bool, int]]:
    """Sort key: trials of the newest builds first, then the front, then the newest trials."""
    latest_build = {build.trial_number: build.build_id for build in report.builds}
    front = {point.trial_number for point in report.front}
    return lambda trial: (-latest_build.get(trial.number, 0), trial.number not in front, -trial.number)


def _facts(
    trial: FrozenTrial, report: StudyReport, result: MeasuredTrial | None, evaluations: tuple[Evaluation, ...]
) -> TrialFacts:
    return TrialFacts(
        study_name=report.study_name,
        trial_number=trial.number,
        state=trial.state.name.lower(),
        design=trial_attributes.read_design(trial),
        result=result,
        evaluations=evaluations,
        builds=tuple(build for build in report.builds if build.trial_number == trial.number),
        front_stages=tuple(sorted(point.stage for point in report.front if point.trial_number == trial.number)),
        copied_from=trial_attributes.read_copied_from(trial),
        message=trial_attributes.read_end(trial),
        is_stopped=trial_attributes.is_stopped(trial),
        objectives=report.objectives,
        constraints=report.constraints,
    )
