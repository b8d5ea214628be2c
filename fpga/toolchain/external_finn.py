"""An external FINN in place of the made environment: the path of its Python, or a container image."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import platformdirs

from fpga.toolchain.finn import Finn, FinnKind
from fpga.toolchain.finn_environment import (
    IN_FINN,
    FinnEnvironmentError,
    Progress,
    ensure_finn_environment,
    make_cache_folder,
    make_finn_variables,
)
from fpga.toolchain.process_group import CommandTimeoutError, run_in_process_group
from storage.artifacts import write_by_rename, write_text_atomically
from storage.commands import make_parser
from storage.environment_variables import FINN_VARIABLE

EXPECTED = "expected the path of a python that has FINN+, docker://IMAGE or podman://IMAGE"

CONTAINER = Path(__file__).with_name("container.py")

CHECK_TIMEOUT_S = 300

READ_PACKAGES = """
import json, sys
from importlib.metadata import distributions
packages = sorted((d.metadata["Name"] or "?", d.version, d.read_text("direct_url.json") or "") for d in distributions())
print(json.dumps({"python": sys.version, "packages": packages}))
"""
"""Run by the python in question: what it has, an editable installation's folder too."""


def find_finn(
    given: str | None, on_progress: Progress = print, stop: Event | None = None, cache: Path | None = None
) -> Finn:
    """The FINN that --finn or FPGA_FINN names, by its Python or as an image; else that of the made environment.

    The Python of an external FINN is a script in a folder of its own. The folder's name holds FINN's version and a
    digest of what tells it from others: its builds are known by that name. Raises FinnEnvironmentError, and
    CommandStoppedError once `stop` is set.
    """
    given = given or os.environ.get(FINN_VARIABLE)
    if not given:
        return ensure_finn_environment(on_progress, stop, cache)
    stop = stop or Event()
    kind = FinnKind.CONTAINER if "://" in given else FinnKind.EXTERNAL
    command, identity = _describe_image(given, stop) if kind is FinnKind.CONTAINER else _describe_python(given)
    packages = _read_packages(given, command, stop)
    version = _find_version(given, packages)
    digest = hashlib.sha256(json.dumps([identity, packages]).encode()).hexdigest()[:12]
    name = f"finn-{version}-own-{digest}"  # stored folders are called so, and builds are known by it
    folder = (cache or platformdirs.user_cache_path("fpga-modulation-search")) / name
    finn = Finn.in_folder(folder, kind)
    make_cache_folder(finn.python.parent)
    if not (folder / "complete.json").is_file():
        on_progress(f"FINN+ {version} of {given} is loaded once, to see that it can be")
        _check_imports(given, command, stop)
    _write_script(finn.python, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    write_text_atomically(folder / "complete.json", json.dumps({"finn": version, "given": given}))
    return finn


def main(arguments: Sequence[str] | None = None, command: str = "fpga.external_finn") -> int:
    """`python -m fpga.external_finn PYTHON|IMAGE`: checks that builds can run with it; 1 where they cannot."""
    parser = make_parser(prog=f"python -m {command}", description=main.__doc__)
    parser.add_argument("finn", metavar="PYTHON|IMAGE", help=EXPECTED)
    given = parser.parse_args(arguments).finn
    try:
        finn = find_finn(given, lambda line: print(line, flush=True))
    except FinnEnvironmentError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"builds run with {given}, and are known as those of {finn.identity}")
    return 0


def _describe_python(given: str) -> tuple[list[str], str]:
    """The command that runs it, and what tells it from another. Raises FinnEnvironmentError where it is not there."""
    path = Path(given).expanduser().absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        what = "is a folder" if path.is_dir() else "cannot be executed" if path.is_file() else "does not exist"
        raise FinnEnvironmentError(f"--finn (or FPGA_FINN) is {given}, which {what}; {EXPECTED}")
    return [str(path)], str(path)


def _describe_image(given: str, stop: Event) -> tuple[list[str], str]:
    """The same for an image. Raises FinnEnvironmentError where the engine or the image is not there."""
    match = re.fullmatch(r"(docker|podman)://([\w./:@-]+)", given)
    if match is None:
        raise FinnEnvironmentError(f"--finn (or FPGA_FINN) is {given}; {EXPECTED}")
    engine = shutil.which(match[1])
    if engine is None:
        raise FinnEnvironmentError(
            f"--finn (or FPGA_FINN) is {given}, but {match[1]} is not installed here; {EXPECTED}"
        )
    command = [engine, "image", "inspect", "--format", "{{.Id}}", match[2]]
    status, said = _run(given, command, stop, os.environ)
    if status != 0:
        raise FinnEnvironmentError(
            f"--finn (or FPGA_FINN) is {given}, an image that {match[1]} does not have or cannot look up; nothing is "
            f"pulled here. It says: {_last_line(said)}"
        )
    image_id = _last_line(said)  # which no later build of the image moves, as it may its name
    return [sys.executable, "-I", str(CONTAINER), engine, image_id], image_id


def _read_packages(given: str, command: Sequence[str], stop: Event) -> dict[str, Any]:
    _, said = _run(given, [*command, "-c", READ_PACKAGES], stop)
    try:
        return dict(json.loads(_last_line(said)))
    except ValueError:
        problem = f"--finn (or FPGA_FINN) is {given}, which is no python that runs: {_last_line(said)}; {EXPECTED}"
        raise FinnEnvironmentError(problem) from None


def _find_version(given: str, packages: Mapping[str, Any]) -> str:
    found: dict[str, str] = {name.lower(): version for name, version, _ in packages["packages"]}
    if "finn-plus" not in found:
        raise FinnEnvironmentError(
            f"--finn (or FPGA_FINN) is {given}, whose python has no package finn-plus; {EXPECTED}"
        )
    return found["finn-plus"]


def _check_imports(given: str, command: Sequence[str], stop: Event) -> None:
    status, said = _run(given, [*command, str(IN_FINN), "check-imports"], stop)
    if status != 0:
        raise FinnEnvironmentError(
            f"--finn (or FPGA_FINN) is {given}, whose FINN cannot be loaded, or not by the steps here: "
            f"{_last_line(said)}"
        )


def _run(
    given: str, command: Sequence[str], stop: Event, variables: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The command's exit status and output. Raises CommandStoppedError.

    It runs with `variables`, or else with those of FINN.
    """
    with TemporaryDirectory(prefix="finn-check-") as scratch:
        log = Path(scratch) / "log"
        try:
            variables = variables or make_finn_variables(Path(scratch))
            status = run_in_process_group(command, log, timeout_s=CHECK_TIMEOUT_S, stop=stop, environment=variables)
        except CommandTimeoutError:
            problem = f"--finn (or FPGA_FINN) is {given}, which did not answer within {CHECK_TIMEOUT_S} s"
            raise FinnEnvironmentError(problem) from None
        except OSError as error:
            problem = f"--finn (or FPGA_FINN) is {given}, which cannot be run: {error.strerror}; {EXPECTED}"
            raise FinnEnvironmentError(problem) from None
        return status, log.read_text(errors="replace")


def _write_script(script: Path, text: str) -> None:
    """Writes the script by rename, executable from the start: another worker's build may be starting it."""
    with write_by_rename(script) as unfinished:
        unfinished.write_text(text)
        unfinished.chmod(0o755)


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"
