"""What all commands share: no guessed options, and no traceback into a pipe that nobody reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.commands import BROKEN_PIPE, make_parser

ROOT = Path(__file__).parents[2]
ROOMS = ("search", "workers", "storage", "dashboards", "fpga")
"""All that may import `storage`."""


def list_sources() -> list[Path]:
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [path for path in paths if "in_finn" not in path.parts and path != ROOT / "storage" / "commands.py"]


def test_an_option_is_taken_by_its_whole_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser("python -m search.run", "Runs a study.")
    parser.add_argument("--trials", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["--trial", "3"])
    assert "unrecognized arguments: --trial 3" in capsys.readouterr().err


def test_all_commands_are_parsed_and_ended_in_one_way() -> None:
    for path in list_sources():
        text = path.read_text(encoding="utf-8")
        assert "ArgumentParser(" not in text, path
        assert "sys.exit(main" not in text, path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["-m", "search.report", "--help"], 0), (["-c", "PRINT"], BROKEN_PIPE), (["-c", "RICH"], BROKEN_PIPE)],
)
def test_a_reader_that_ends_early_is_no_traceback(arguments: list[str], code: int) -> None:
    program = (
        "from storage.commands import run_command\nrun_command(lambda: [print('line') for _ in range(100_000)] and 0)"
    )
    rich = (
        "from storage.commands import run_command\n"
        "from search.reports.tables import open_console\n"
        "run_command(lambda: [open_console().print('line') for _ in range(10_000)] and 0)"
    )
    programs = {"PRINT": program, "RICH": rich}
    arguments = [programs.get(argument, argument) for argument in arguments]
    command = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    assert command.stderr.read() == ""
    assert command.wait(60) == code
