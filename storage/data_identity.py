"""What tells one data set from another, wherever its file lies."""

from __future__ import annotations

import hashlib
import json

from storage.dataset.radioml import RadioMLFile, hash_frames
from storage.twin.file import load_attributes


def identify_data_set(file: RadioMLFile) -> str:
    """Sixteen hexadecimal digits: a twin's by how it was made, any other file's by its samples.

    A twin's samples would not do: a processor without AVX2 rounds them otherwise, and they are the same data set.
    """
    attributes = load_attributes(file.path)
    parts = {
        "frames_per_cell": file.frames_per_cell,
        "class_names": list(file.class_names),
        "snrs_db": list(file.snrs_db),
    }
    if attributes is None or {**attributes, **parts} != attributes:
        return hash_frames(file)
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()[:16]
