"""Machines and clusters that cannot hold a trial, told before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import search.processes.capacity
from search.processes.capacity import CapacityError, check_cluster, check_machine, count_gpus
from spaces.study_config import WorkersPart

N_LISTED = """\
#!/bin/sh
echo "GPU 0: NVIDIA H200 (UUID: GPU-0)"
echo "  MIG 1g.18gb Device 0: (UUID: MIG-0)"
echo "GPU 1: NVIDIA H200 (UUID: GPU-1)"
"""


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with neither GPU nor `nvidia-smi`; the folder in which its commands lie."""
    monkeypatch.setattr(search.processes.capacity, "NVIDIA_DRIVER", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_gpus_that_the_machine_has_not_are_refused() -> None:
    with pytest.raises(
        CapacityError, match=r"workers.gpus_per_trial is 0\.5; expected at most 0, the NVIDIA GPUs here"
    ):
        check_machine(WorkersPart(gpus_per_trial=0.5))


def test_trial_without_gpu_needs_none() -> None:
    check_machine(WorkersPart())


def test_gpus_are_counted_by_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    assert count_gpus() == 2
    check_machine(WorkersPart(gpus_per_trial=2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert count_gpus() == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_gpus() == 0


def test_gpus_are_counted_by_nvidia_smi_where_the_driver_tells_nothing(bare_machine: Path) -> None:
    (bare_machine / "nvidia-smi").write_text(N_LISTED)
    (bare_machine / "nvidia-smi").chmod(0o755)
    assert count_gpus() == 2


@pytest.mark.parametrize("address", ["foo", "local", "10.0.0.1", "10.0.0.1:", "10.0.0.1:70000", "ray://10.0.0.1:6379"])
def test_address_that_is_none_of_ray_s_is_refused(address: str) -> None:
    with pytest.raises(CapacityError, match=f"--ray-address is {address}; expected HOST:PORT or auto"):
        check_cluster(address)


def test_address_where_nobody_answers_is_refused(free_port: int) -> None:
    with pytest.raises(CapacityError, match=r"where nobody answers \(Connection refused\); expected HOST:PORT"):
        check_cluster(f"127.0.0.1:{free_port}")


def test_unknown_host_is_refused() -> None:
    with pytest.raises(CapacityError, match=r"--ray-address is no-such-host\.invalid:6379, where nobody answers"):
        check_cluster("no-such-host.invalid:6379")


def test_address_where_somebody_answers_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_cluster(f"127.0.0.1:{server.getsockname()[1]}")


def test_auto_is_the_address_of_the_environment(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check_cluster("auto")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port}")
    with pytest.raises(CapacityError, match="where nobody answers"):
        check_cluster("auto")
