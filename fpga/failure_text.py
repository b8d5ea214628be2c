"""What a worker says of an exception: one line, for the row and the log."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from fpga.finn_build import FULL_DISK_BYTES, FinnBuildError
from fpga.reports import ReportError
from fpga.verification import VerificationError
from storage.artifacts import ArtifactError

SPEAK_FOR_THEMSELVES = (FinnBuildError, VerificationError, ReportError, ArtifactError)


def describe_failure(folder: Path, error: Exception, after_full_disk: str) -> str:
    """One line. `after_full_disk` says what becomes of the work where the disk of `folder` is full."""
    return describe_full_disk(folder, error, after_full_disk) or describe_error(error)


def describe_error(error: Exception) -> str:
    """The exception's text; its type goes before it where the exception is not one of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, SPEAK_FOR_THEMSELVES) else f"{type(error).__name__}: {text}"


def describe_full_disk(folder: Path, error: Exception, consequence: str) -> str | None:
    """One line where `error` comes from a full disk, else None."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    is_no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not is_no_space and free >= FULL_DISK_BYTES and "No space left on device" not in str(error):
        return None
    return f"the disk of {folder} is full, {free / 1e6:.1f} MB free; {consequence}"
