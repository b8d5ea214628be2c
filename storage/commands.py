"""What all commands share: a parser that guesses nothing, and an end without a traceback when nobody reads on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

BROKEN_PIPE = 141
"""Exit code, as of a program that SIGPIPE ended."""


def make_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that takes options by their whole names alone: --trial is not --trials."""
    return argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)


def run_command(main: Callable[[], int]) -> NoReturn:
    """Ends the process with the exit code that `main` returns.

    Where what reads its output has ended before, as `head` does, the command ends as with Ctrl-C, and quietly.
    """
    code: str | int | None
    try:
        try:
            code = main()
        except SystemExit as end:  # --help, and options that are wrong
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())  # else Python's last flush raises again
    sys.exit(code)
