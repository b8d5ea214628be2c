"""Only a full disk is put down to the disk."""

from __future__ import annotations

import errno
from pathlib import Path

from fpga.failure_text import describe_full_disk
from fpga.finn_build import FinnBuildError


def test_only_a_want_of_space_is_put_down_to_the_disk(tmp_path: Path) -> None:
    missing = tmp_path / "not" / "there"

    assert describe_full_disk(missing, ValueError("no"), "") is None
    told = describe_full_disk(missing, OSError(errno.ENOSPC, "No space left on device"), "")
    assert told is not None
    assert told.startswith(f"the disk of {missing} is full, ")
    assert describe_full_disk(tmp_path, FinnBuildError("step failed: [Errno 28] No space left on device: 'x'"), "")
