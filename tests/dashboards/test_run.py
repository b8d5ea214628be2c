"""The real server in a process of its own, on a real study, through its pages and its JSON API."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import optuna
import pytest
from optuna.trial import Trial
from optuna_dashboard import get_note

from dashboards.refresher import OWN_NOTES_HEADING, PARETO_FRONT_ID
from search.optuna_storage import open_optuna_storage
from search.reports.study_report import load_study_report
from tests.dashboards.demo_server import ROOT, Server, run_module, running_server
from tests.dashboards.demo_study import HARDWARE, complete_trial, finish_demo_build, make_demo_study, open_demo_database

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `search.run` leaves it: runs/studies.db with one study of 40 trials."""
    folder = tmp_path_factory.mktemp("dashboard")
    make_demo_study(open_demo_database(folder))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running_server(folder) as server:
        yield server


def test_pages_and_the_list_of_studies_are_served(server: Server) -> None:
    assert "<title>Optuna Dashboard" in httpx.get(f"{server.address}/", follow_redirects=True).text
    assert httpx.get(f"{server.address}/dashboard/studies/1").status_code == 200
    studies = httpx.get(f"{server.address}/api/studies").json()["study_summaries"]
    assert [study["study_name"] for study in studies] == ["demo", "demo: all stages"]


def test_study_has_the_pareto_plot_and_its_note(server: Server) -> None:
    study = _study_when(server, lambda study: bool(study["plotly_graph_objects"]) and study["note"]["body"])

    (plot,) = study["plotly_graph_objects"]
    assert plot["id"] == PARETO_FRONT_ID
    names = [trace["name"] for trace in json.loads(plot["graph_object"])["data"]]
    assert any(name.startswith("Pareto front (") for name in names)
    assert "38 trials complete, 1 could not be built, 1 failed" in study["note"]["body"]


def test_each_finished_trial_has_its_note(server: Server) -> None:
    study = _study_when(server, lambda study: all(trial["note"]["body"] for trial in study["trials"]))

    notes = [trial["note"]["body"] for trial in study["trials"]]
    assert len(notes) == 40
    assert "| depthwise_separable |" in notes[0]
    assert "| 1, pruning |" in notes[0]
    assert "cannot be built" in notes[38]
    assert "ValueError: `a|b`" in notes[39]


def test_infeasible_trials_are_told_from_feasible_ones(tmp_path: Path) -> None:
    study = make_demo_study(open_demo_database(tmp_path), goals=HARDWARE)
    infeasible = [trial.number for trial in study.trials if any(value > 0 for value in trial.constraints.values())]
    with running_server(tmp_path) as server:
        answer = httpx.get(f"{server.address}/api/studies/1").json()

    shown = [trial["number"] for trial in answer["trials"] if any(value > 0 for value in trial["constraints"])]
    assert len(shown) == 8
    assert shown == infeasible
    assert [trial["number"] for trial in answer["best_trials"]] == sorted(
        trial.trial_number for trial in load_study_report(open_demo_database(tmp_path), "demo").front
    )


def test_new_trials_and_builds_appear_while_the_server_runs(tmp_path: Path) -> None:
    database = open_demo_database(tmp_path)
    study = make_demo_study(database, n_trials=5)
    with running_server(tmp_path) as server:
        _study_when(server, lambda study: all(trial["note"]["body"] for trial in study["trials"]))

        number = complete_trial(study, database)
        winner = load_study_report(database, "demo").front[0].trial_number
        finish_demo_build(database, "demo", winner)

        _study_when(server, lambda study: "accuracy" in _note(study, number))
        _study_when(server, lambda study: "101,562 frames/s" in _note(study, winner))
        _study_when(server, lambda study: "101,562 frames/s" in _plot_text(study))


def test_what_people_write_into_a_note_is_kept(tmp_path: Path) -> None:
    database = open_demo_database(tmp_path)
    study = make_demo_study(database, n_trials=3)
    with running_server(tmp_path) as server:
        note = _study_when(server, lambda study: study["note"]["body"])["note"]
        body = f"{note['body']}\n\nlooks good to me"
        url = f"{server.address}/api/studies/1/note"
        assert httpx.put(url, json={"version": note["version"] + 1, "body": body}).status_code == 204

        complete_trial(study, database)

        final = _study_when(server, lambda study: "2 trials complete" in study["note"]["body"])["note"]["body"]
        assert final.partition(OWN_NOTES_HEADING)[2] == "\n\nlooks good to me"


def test_foreign_host_names_are_refused(server: Server) -> None:
    answer = httpx.get(f"{server.address}/api/studies", headers={"Host": "evil.example"})

    assert answer.status_code == 400
    assert "demo" not in answer.text


def test_cross_origin_writes_change_nothing(server: Server) -> None:
    headers = {"Origin": "http://evil.example"}

    created = httpx.post(
        f"{server.address}/api/studies", json={"study_name": "x", "directions": ["minimize"]}, headers=headers
    )
    deleted = httpx.delete(f"{server.address}/api/studies/1", headers=headers)

    assert (created.status_code, deleted.status_code) == (403, 403)
    assert len(httpx.get(f"{server.address}/api/studies").json()["study_summaries"]) == 2


def test_html_artifacts_are_sandboxed(server: Server, folder: Path) -> None:
    upload = {"file": "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "filename": "evil.html"}
    (artifact,) = httpx.post(f"{server.address}/api/artifacts/1", json=upload).json()["artifacts"]

    answer = httpx.get(f"{server.address}/artifacts/1/{artifact['artifact_id']}")

    assert answer.text == "<script>alert(1)</script>"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (folder / "runs/artifacts/uploads" / artifact["artifact_id"]).is_file()


def test_with_a_token_everything_needs_it(folder: Path) -> None:
    with running_server(folder, "--token", "s3cret", "--study", "demo") as server, httpx.Client() as browser:
        studies = f"{server.address}/api/studies"
        assert browser.get(studies).status_code == 401
        assert browser.get(studies, headers={"Authorization": "Bearer s3cret"}).status_code == 200

        opened = browser.get(f"{server.address}/dashboard?token=s3cret", follow_redirects=True)

        assert opened.status_code == 200
        assert "token" not in str(opened.url)
        assert browser.get(studies).status_code == 200


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_without_an_error(folder: Path, signal_number: signal.Signals) -> None:
    with running_server(folder) as server, httpx.Client() as keeps_its_connection:
        keeps_its_connection.get(f"{server.address}/dashboard")

        server.process.send_signal(signal_number)
        _, errors = server.process.communicate(timeout=PATIENCE_S)

    assert (server.process.returncode, errors) == (0, "")


def test_a_build_that_ends_right_before_the_server_is_in_the_last_note(tmp_path: Path) -> None:
    database = open_demo_database(tmp_path)
    make_demo_study(database, n_trials=3)
    with running_server(tmp_path) as server:
        _study_when(server, lambda study: all(trial["note"]["body"] for trial in study["trials"]))

        finish_demo_build(database, "demo", 0)
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=PATIENCE_S)

    study = optuna.load_study(study_name="demo", storage=open_optuna_storage(database))
    assert "101,562 frames/s" in get_note(Trial(study, study.trials[0]._trial_id))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host is 0.0.0.0 and no --token is given; expected 127.0.0.1"),
        (["--token", ""], "--token is empty"),
        (["--storage", "sqlite:///nowhere.db"], "does not exist; expected the one that search.run writes"),
        (["--storage", "mysql://u:hidden@h/d"], "expected sqlite:///FILE or postgresql+psycopg://"),
        (["--study", "other"], "--study is other; expected one of: demo"),
        (["--port", "99999"], "port is 99999; expected 0 to 65535, or auto"),
        (["--host", "no.such.host.invalid", "--token", "x"], "cannot listen on no.such.host.invalid:8080"),
    ],
)
def test_wrong_options_end_with_code_2_and_a_reason(folder: Path, arguments: list[str], message: str) -> None:
    done = run_module(folder, "dashboards.run", *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr
    assert not (folder / "nowhere.db").exists()


def test_a_port_in_use_ends_with_code_2_and_says_so(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        done = run_module(folder, "dashboards.run", "--port", str(port))

    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use; give another --port")


def test_the_dashboard_loads_neither_torch_nor_ray() -> None:
    loaded = "{'torch', 'ray', 'brevitas'} & set(sys.modules)"
    program = f"import sys, dashboards.run, dashboards.report_page; print({loaded})"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.stdout == "set()\n", done.stderr


def _study_when(server: Server, is_ready: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The study as the API gives it, as soon as `is_ready` says so."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        study: dict[str, Any] = httpx.get(f"{server.address}/api/studies/1").json()
        if is_ready(study):
            return study
        assert time.monotonic() < give_up, study["note"]
        time.sleep(0.3)


def _note(study: dict[str, Any], trial_number: int) -> str:
    notes = [trial["note"]["body"] for trial in study["trials"] if trial["number"] == trial_number]
    return "".join(notes)


def _plot_text(study: dict[str, Any]) -> str:
    return str([json.loads(plot["graph_object"]) for plot in study["plotly_graph_objects"]])
