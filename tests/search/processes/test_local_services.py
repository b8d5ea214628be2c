import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.processes.local_services import Service, ServiceError, choose_finn, find_free_port

ROOT = Path(__file__).parents[3]

SLEEPER = "import time\nprint('awake', flush=True)\ntime.sleep(60)\n"

DRIVER = """
import time
from pathlib import Path
from search.processes.local_services import Service
service = Service("sleeper", ["sleeper"], Path("sleeper.log"))
print(service._process.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(log: Path) -> None:
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the module `sleeper` can be run."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_service_writes_to_its_log_and_ends_when_stopped(folder: Path) -> None:
    service = Service("sleeper", ["sleeper"], folder / "logs" / "sleeper.log")
    wait_for(service.log)
    assert service.exit_code is None
    assert service.last_line() == "awake"
    service.stop()
    assert service.exit_code == -signal.SIGTERM


def test_service_that_ended_by_itself_has_its_exit_code(folder: Path) -> None:
    service = Service("nothing", ["no_such_module"], folder / "nothing.log")
    deadline = time.monotonic() + 30
    while service.exit_code is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.exit_code == 1
    assert "No module named no_such_module" in service.last_line()
    service.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="NEEDS LINUX: only there a child learns that its parent died")
def test_service_ends_when_its_driver_is_killed(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"}
    with subprocess.Popen([sys.executable, "-c", DRIVER], env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pid = int(driver.stdout.readline())
        wait_for(folder / "sleeper.log")
        assert is_alive(pid)
        driver.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_taken_port_is_passed_over_or_refused_where_it_was_wanted() -> None:
    first = find_free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert find_free_port() > first
        with pytest.raises(ServiceError, match=f"the dashboard's port is {first}; expected one that no other"):
            find_free_port(first)


def test_finn_that_is_not_there_is_one_line_and_none_is_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FPGA_FINN", raising=False)
    choose_finn(None)
    with pytest.raises(ServiceError, match=r"^--finn \(or FPGA_FINN\) is /nowhere/python, which does not exist; .*$"):
        choose_finn("/nowhere/python")
    monkeypatch.setenv("FPGA_FINN", "/other/python")
    with pytest.raises(ServiceError, match="is /other/python, which does not exist"):
        choose_finn(None)
