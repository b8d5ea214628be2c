"""Functions run as a user who may not write where root may."""

from __future__ import annotations

import multiprocessing
import os
import pwd
from collections.abc import Callable
from typing import TypeVar

Argument = TypeVar("Argument")


def run_as_nobody(function: Callable[[Argument], list[str]], argument: Argument) -> list[str]:
    """What the function gives in a process that is not root; for root may write everywhere."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def run() -> None:
        if os.geteuid() == 0:
            os.setuid(pwd.getpwnam("nobody").pw_uid)
        results.put(function(argument))

    process = context.Process(target=run)
    process.start()
    answer: list[str] = results.get()
    process.join(timeout=60)
    return answer
