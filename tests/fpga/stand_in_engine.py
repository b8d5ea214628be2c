"""Stands in for docker where no engine runs: its containers are processes of this machine, in a pid namespace each.

As with an engine, they outlive whoever started them, see none of his environment, and are their namespace's first
process. They see all of this machine's files; nothing is isolated but process ids.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

VALUED = ("--pull", "--network", "--security-opt", "--name", "--user", "--userns", "--env", "--mount", "--entrypoint")


NEW_USER_AND_PID_NAMESPACE = 0x10000000 | 0x20000000
"""CLONE_NEWUSER and CLONE_NEWPID of sched.h."""


def write_engine(folder: Path, python: Path) -> Path:
    """A program of docker's name, whose one image `finn:1` has this python; its containers' names lie beside it."""
    engine = folder / "docker"
    engine.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__, str(folder), str(python)])} "$@"\n')
    engine.chmod(0o755)
    return engine


def run(folder: Path, python: str, arguments: list[str]) -> int:
    """`docker run`: options, image, command."""
    options: list[tuple[str, str]] = []
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        options.append((option, arguments.pop(0) if option in VALUED else ""))
    image, *command = arguments
    if image not in ("finn:1", "sha256:1234"):
        print(f"docker: no such image: {image}", file=sys.stderr)
        return 125
    variables = dict(value.split("=", 1) for option, value in options if option == "--env")
    mounts = [dict(part.split("=") for part in v.split(",") if "=" in part) for o, v in options if o == "--mount"]
    assert all(Path(mount["source"]).exists() and mount["source"] == mount["target"] for mount in mounts)
    name = folder / dict(options)["--name"]
    if ctypes.CDLL(None).unshare(NEW_USER_AND_PID_NAMESPACE) != 0:
        return 125
    with subprocess.Popen(  # the first process of its namespace, which is not this one's
        [python, *command],
        env={"PATH": os.environ["PATH"], **variables},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as container:
        name.write_text(str(container.pid))
        status = container.wait()
    name.unlink(missing_ok=True)
    return 128 - status if status < 0 else status


def kill(folder: Path, name: str) -> int:
    """`docker kill`."""
    path = folder / name
    if not path.is_file():
        return 1
    os.killpg(int(path.read_text()), signal.SIGKILL)
    path.unlink()
    return 0


def main(folder: Path, python: str, arguments: list[str]) -> int:
    """Of docker's commands those that the project calls."""
    match arguments:
        case ["run", *rest]:
            return run(folder, python, rest)
        case ["kill", name] | ["rm", "--force", name]:
            return kill(folder, name)
        case ["image", "inspect", "--format", "{{.Id}}", "finn:1"]:
            print("sha256:1234")
            return 0
    print(f"docker: no such image, or no such command: {arguments}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
