"""The schema of study files: in step with the code, true of all that are shipped, and of use against mistakes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from spaces.schema import FIRST_LINE, REFERENCE_FILE, SCHEMA_FILE, make_schema, reference_text, schema_text
from spaces.study_config import ConfigError, parse_study_config

SPACES = Path(__file__).parents[2] / "spaces"
STUDIES = sorted(SPACES.glob("*.yaml"))
VALIDATOR = Draft202012Validator(make_schema())

STUDY: dict[str, Any] = {
    "study": {"name": "tiny", "seed": 1},
    "objectives": {"accuracy": {"threshold": 0.5}},
    "space": {
        "quantization": {"weights": {"choices": [4, 6]}},
        "blocks": [
            {"type": "input_quantizer", "bit_width": 8},
            {"repeat": {"int": [1, 2]}, "blocks": [{"type": "conv", "kernel_size": 3, "out_channels": 8}]},
            {"one_of": {"pool": [{"type": "max_pool", "kernel_size": 2}], "none": []}, "as": "pool"},
            {"type": "global_pool"},
            {"type": "linear", "out_features": 24},
        ],
    },
    "training": {"learning_rate": {"float": [0.001, 0.1], "log": True}},
    "pruning": {"stages": [{"epsilon": 0.1, "weight_decay": 0.0, "epochs": 1}]},
    "budget": {"trials": 2, "epochs": 1},
}

Change = Callable[[dict[str, Any]], object]

MISTAKES: dict[str, Change] = {
    "misspelt part": lambda study: study.update({"budgets": {}}),
    "missing part": lambda study: study.pop("budget"),
    "misspelt key": lambda study: study["budget"].update({"trial": 3}),
    "missing key": lambda study: study["budget"].pop("epochs"),
    "text for a number": lambda study: study["budget"].update({"trials": "ten"}),
    "a number out of range": lambda study: study["budget"].update({"trials": 0}),
    "a fraction for a whole number": lambda study: study["budget"].update({"epochs": 1.5}),
    "an accuracy in percent": lambda study: study["objectives"]["accuracy"].update({"threshold": 56}),
    "another direction": lambda study: study["objectives"]["accuracy"].update({"direction": "minimize"}),
    "an unknown sampler": lambda study: study["study"].update({"sampler": "tpee"}),
    "a name with a slash": lambda study: study["study"].update({"name": "a/b"}),
    "an unknown block": lambda study: study["space"]["blocks"].append({"type": "convolution"}),
    "a block without its size": lambda study: study["space"]["blocks"][3].update({"type": "max_pool"}),
    "a misspelt field of a block": lambda study: study["space"]["blocks"][0].update({"bits": 4}),
    "bits out of range": lambda study: study["space"]["blocks"][0].update({"bit_width": 16}),
    "a choice out of range": lambda study: study["space"]["quantization"].update({"weights": {"choices": [4, 99]}}),
    "a kernel that is too long": lambda study: study["space"]["blocks"][1]["blocks"].append(
        {"type": "depthwise_separable", "kernel_size": 257, "out_channels": 8}
    ),
    "a list without its kind": lambda study: study["space"]["quantization"].update({"weights": [4, 6]}),
    "three bounds": lambda study: study["space"]["blocks"][1].update({"repeat": {"int": [1, 2, 3]}}),
    "a step of a float range": lambda study: study["training"]["learning_rate"].update({"step": 2}),
    "an unknown schedule": lambda study: study["training"].update({"schedule": "cosine"}),
    "an unknown kind of pruning": lambda study: study["pruning"]["stages"][0].update({"kind": "magnitudes"}),
    "a stage without epochs": lambda study: study["pruning"]["stages"][0].pop("epochs"),
    "an unknown board": lambda study: study.update({"fpga": {"board": "ZCU999"}}),
    "a stage of a campaign without trials": lambda study: study.update({"stages": [{"name": "a", "draws": "pruning"}]}),
}


def test_files_are_in_step_with_the_code() -> None:
    hint = "python -m spaces.schema writes them anew"
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), hint
    assert REFERENCE_FILE.read_text(encoding="utf-8") == reference_text(), hint


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_each_study_file_names_the_schema_and_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == FIRST_LINE
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


def test_a_small_study_is_valid() -> None:
    VALIDATOR.validate(STUDY)
    assert parse_study_config(yaml.safe_dump(STUDY), "tiny.yaml").study.name == "tiny"


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_is_marked_by_the_schema_and_refused_by_the_reader(mistake: str) -> None:
    study = copy.deepcopy(STUDY)
    MISTAKES[mistake](study)
    assert not VALIDATOR.is_valid(study)
    with pytest.raises(ConfigError):
        parse_study_config(yaml.safe_dump(study), "tiny.yaml")


def test_reference_has_every_key_of_the_schema() -> None:
    text = reference_text()
    schema = make_schema()
    properties = [schema["properties"], *(part.get("properties", {}) for part in schema["$defs"].values())]
    assert all(f"`{name}`" in text for part in properties for name in part)
