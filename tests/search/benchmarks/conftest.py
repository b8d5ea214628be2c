"""The small network and its frames, which tests of workers have too."""

from tests.workers.conftest import tone_architecture, tone_frames

__all__ = ["tone_architecture", "tone_frames"]
