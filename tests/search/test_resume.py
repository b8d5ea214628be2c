"""The real command, stopped in the middle of a study and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from storage.database import open_database
from storage.evaluations import load_evaluations

ROOT = Path(__file__).parents[2]

N_TRIALS, N_EPOCHS = 3, 5

STUDY_FILE = f"""
study: {{name: resumed, seed: 1}}
dataset: {{twin: {{frames_per_cell: 8}}}}
space:
  blocks:
    - {{type: input_quantizer}}
    - type: depthwise_separable
      kernel_size: {{choices: [7, 9]}}
      stride: 4
      out_channels: {{int: [8, 24]}}
      weight_bit_width: {{int: [4, 8]}}
      activation_bit_width: 4
    - {{type: global_pool}}
    - {{type: linear, out_features: 24, weight_bit_width: 8}}
training: {{batch_size: 128}}
pruning: {{stages: [{{epsilon: {{float: [0.01, 0.1]}}, weight_decay: 0.0, epochs: 1}}]}}
budget: {{trials: {N_TRIALS}, epochs: {N_EPOCHS - 1}}}
"""

ONE_AT_A_TIME = "workers: {max_concurrent: 1}\n"

TIMEOUT_S = 240


class EpochLog:
    """Every epoch that some worker finished: (trial folder, epoch, time), read while workers write."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stop = folder, Event()
        self.epochs: set[tuple[str, int, float]] = set()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def of_trial(self, name: str) -> list[int]:
        return [epoch for trial, epoch, _ in sorted(self.epochs, key=lambda entry: entry[2]) if trial == name]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            for path in self._folder.glob("*/progress.json"):
                progress = json.loads(path.read_text())
                self.epochs.add((path.parent.name.partition("-")[0], progress["epoch"], progress["updated"]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def epoch_log(tmp_path: Path) -> Iterator[EpochLog]:
    log = EpochLog(tmp_path / "runs/artifacts/resumed/trials")
    yield log
    log.close()


def start(folder: Path, cache: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    environment.pop("RADIOML_2018_01A", None)
    (folder / "resumed.yaml").write_text(STUDY_FILE + ONE_AT_A_TIME)
    return subprocess.Popen(
        [sys.executable, "-m", "search.run", "resumed.yaml", "--no-build", "--no-dashboard", *options],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(driver: subprocess.Popen[str]) -> str:
    """What the driver printed, after it ended."""
    try:
        return driver.communicate(timeout=TIMEOUT_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(driver.pid, signal.SIGKILL)
        raise


def wait_for_epoch(driver: subprocess.Popen[str], log: EpochLog, trial: str, epoch: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not any(seen >= epoch for seen in log.of_trial(trial)):
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_report(folder: Path, cache: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "search.report", "resumed", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    report: dict[str, object] = json.loads(result.stdout)
    return report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "number"),
    [
        (("--local",), signal.SIGINT),
        (("--local",), signal.SIGTERM),
        (("--local",), signal.SIGKILL),
        ((), signal.SIGINT),
        ((), signal.SIGKILL),
    ],
    ids=["ctrl-c local", "term local", "kill -9 local", "ctrl-c ray", "kill -9 ray"],
)
def test_stopped_study_goes_on_and_trains_nothing_twice(
    tmp_path: Path, cache: Path, epoch_log: EpochLog, options: tuple[str, ...], number: signal.Signals
) -> None:
    driver = start(tmp_path, cache, *options)
    wait_for_epoch(driver, epoch_log, "00001", 2)
    if number is signal.SIGINT:
        os.killpg(driver.pid, number)  # as a terminal does it
    else:
        driver.send_signal(number)
    output = finish(driver)
    assert "Traceback" not in output
    if number is signal.SIGKILL:
        assert driver.returncode == -signal.SIGKILL
    else:
        assert driver.returncode == 130, output
        assert "go on with: python -m search.run resumed.yaml" in output
    assert read_report(tmp_path, cache)["trials"]["running"] >= 1  # type: ignore[index]

    again = start(tmp_path, cache, *options)
    output = finish(again)
    assert again.returncode == 0, output
    assert "trial 1 goes on where an earlier run left it" in output

    counts = {"complete": N_TRIALS, "pruned": 0, "failed": 0, "running": 0, "waiting": 0, "stopped": 0}
    assert read_report(tmp_path, cache)["trials"] == counts
    evaluations = load_evaluations(open_database(f"sqlite:///{tmp_path}/runs/studies.db"), "resumed")
    stages = [(evaluation.trial_number, evaluation.stage) for evaluation in evaluations]
    assert stages == [(trial, stage) for trial in range(N_TRIALS) for stage in (0, 1)]
    for trial in range(N_TRIALS):
        assert epoch_log.of_trial(f"{trial:05d}") == list(range(1, N_EPOCHS + 1))
