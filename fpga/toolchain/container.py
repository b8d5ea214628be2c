"""Runs FINN's Python in a container that ends with whoever started it. Imports nothing of this project.

Called as `python container.py ENGINE IMAGE ARGUMENT...`. The first argument may be fpga/in_finn, the last a request.
Their folders, and those that the request names, are mounted under the same absolute paths.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

VARIABLES = ("FINN_BUILD_DIR", "FINN_SETTINGS", "HOME", "NUM_DEFAULT_WORKERS", "OMP_NUM_THREADS", "XILINX_VIVADO")
"""What FINN is told by the environment, of those that finn_environment.py sets."""

NULL = subprocess.DEVNULL

WATCH_S = 0.1

REMOVAL_WAITS_S = (0.0, 1.0, 2.0)
"""A container is removed more than once: its engine may still have been starting it."""

ENGINE_FAILED = 125
"""Exit status of `docker run` and `podman run` where they, not the command, failed."""


def run_in_container(engine: str, image: str, arguments: Sequence[str]) -> int:
    """The command's exit status, 128 + N where signal N ended it.

    However this process ends, by `kill -9` too, a guardian of its own session removes the container, and holds all
    open file descriptors, such as a lock of the folder, until it has.
    """
    request = read_request(arguments)
    name = name_container(arguments)
    parent_pid = int(str(request.get("parent_pid", os.getppid())))
    remove_container(engine, name)  # what a machine that lost power, or a killed guardian, left
    told = start_guardian(engine, name)
    command = make_command(engine, image, name, arguments, request)
    process = subprocess.Popen(command, stdin=NULL, env=engine_variables())
    while process.poll() is None:
        if os.getppid() != parent_pid:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        time.sleep(WATCH_S)
    if process.returncode == ENGINE_FAILED:
        print(f"ContainerError: {Path(engine).name} could not run {image}; its own words are above", flush=True)
        return ENGINE_FAILED
    os.write(told, b"ended")
    return process.returncode


def make_command(
    engine: str, image: str, name: str, arguments: Sequence[str], request: Mapping[str, object]
) -> list[str]:
    """What the engine is called with: no network, no image from elsewhere, this user's files."""
    options = ["--rm", "--pull", "never", "--network", "none", "--security-opt", "label=disable", "--name", name]
    options += ["--user", f"{os.getuid()}:{os.getgid()}"]
    if "podman" in Path(engine).name and os.getuid() != 0:
        options += ["--userns", "keep-id"]  # else this user is root inside, and UID another user outside
    for variable in VARIABLES:
        if variable in os.environ:
            options += ["--env", f"{variable}={os.environ[variable]}"]
    for folder, is_read_only in sorted(find_folders(arguments, request).items()):
        mount = f"type=bind,source={folder},target={folder}"
        options += ["--mount", mount + (",readonly" if is_read_only else "")]
    return [engine, "run", *options, "--entrypoint", "python", image, *arguments]


def find_folders(arguments: Sequence[str], request: Mapping[str, object]) -> dict[Path, bool]:
    """Each folder that the command reads or writes, and whether it only reads there."""
    folders = {Path(arguments[0]).resolve(): True} if arguments and "/" in arguments[0] else {}
    for key in ("model", "proof"):
        if request.get(key):
            folders[Path(str(request[key])).absolute().parent] = True
    written = [Path(os.environ["FINN_BUILD_DIR"])] if "FINN_BUILD_DIR" in os.environ else []
    if request:
        written += [Path(arguments[-1]).absolute().parent]
    if "output_dir" in request:
        written += [Path(str(request["output_dir"])).absolute()]
    return folders | dict.fromkeys(written, False)


def read_request(arguments: Sequence[str]) -> dict[str, object]:
    """The request of a command of fpga/in_finn; empty where there is none, or another program runs."""
    if len(arguments) == 3 and arguments[2].endswith(".json"):
        return dict(json.loads(Path(arguments[2]).read_text()))
    return {}


def name_container(arguments: Sequence[str]) -> str:
    """The container's name. A request has always the same, so that what an earlier attempt left is found."""
    if read_request(arguments):
        return "finn-" + hashlib.sha256(str(Path(arguments[-1]).absolute()).encode()).hexdigest()[:20]
    return f"finn-{uuid.uuid4().hex[:20]}"


def remove_container(engine: str, name: str) -> None:
    """Kills and removes the container, if there is one."""
    for command in (("kill", name), ("rm", "--force", name)):  # podman's rm asks politely for ten seconds first
        subprocess.run([engine, *command], stdin=NULL, stdout=NULL, stderr=NULL, check=False, env=engine_variables())


def engine_variables() -> dict[str, str]:
    """Those of this process with the user's own HOME, where an engine without root keeps its images."""
    try:
        return dict(os.environ) | {"HOME": pwd.getpwuid(os.getuid()).pw_dir}
    except KeyError:  # a user without a name
        return dict(os.environ)


def start_guardian(engine: str, name: str) -> int:
    """Starts a process that removes the container. Returns a pipe: a word into it ends the guardian.

    Where the pipe is closed without a word, the guardian removes the container.
    """
    waits, told = os.pipe()
    if os.fork():
        os.close(waits)
        return told
    os.setsid()
    os.close(told)
    if not os.read(waits, 1):
        for wait_s in REMOVAL_WAITS_S:
            time.sleep(wait_s)
            remove_container(engine, name)
    os._exit(0)


def end_as(status: int) -> int:
    """The exit status, or this process's end by the signal that ended the container's."""
    if 128 < status < 128 + signal.NSIG:
        signal.signal(status - 128, signal.SIG_DFL) if status - 128 not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), status - 128)
    return status


if __name__ == "__main__":
    sys.exit(end_as(run_in_container(sys.argv[1], sys.argv[2], sys.argv[3:])))
