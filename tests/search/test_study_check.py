"""What `search.run FILE --check` says of a study, while it starts nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search.run import main
from search.study_check import draw_designs, measure_data
from spaces.grid import list_combinations
from spaces.space_size import count_designs
from spaces.study_config import load_study_config, parse_study_config

SPACES = Path(__file__).parents[2] / "spaces"
STUDIES = sorted(SPACES.glob("*.yaml"))

STUDY = """
study: {name: tiny, seed: 1, sampler: random}
dataset: {twin: {frames_per_cell: 9, seed: 4321}}
space:
  blocks:
    - {type: input_quantizer}
    - type: conv
      kernel_size: 9
      stride: {choices: [4, 8, 16]}
      out_channels: {int: [4, 8], step: 2}
    - {type: global_pool}
    - {type: linear, out_features: 24}
training: {batch_size: 64, learning_rate: {float: [0.001, 0.1], log: true}}
budget: {trials: 4, epochs: 2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_check_tells_all_and_starts_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tiny.yaml").write_text(STUDY)
    assert main(["tiny.yaml", "--check"]) == 0
    told = dict(re.findall(r"^([^:]+): +(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert told["space"] == "9 combinations, times 1 range of fractions"
    assert told["draws"] == "200 of 200 random draws can be built"
    assert re.fullmatch(r"0\.\d+ to 0\.\d+, half of the draws below 0\.\d+", told["dense cost"])
    assert told["frames/s"].startswith("at most 195,312 at a clock of 5 ns")
    assert told["data"].startswith("3,192 training frames, 624 validation frames; the twin is made first, 43.9 MiB at ")
    assert re.fullmatch(r"\d+:\d\d to \d+:\d\d of training, \w+ path, on 1 thread", told["a trial"])
    assert re.match(r"\d+:\d\d for 4 trials, \d at once", told["the budget"])
    assert "at once, and " in told["memory"]
    assert "are free at " in told["disk"]
    left = {path.name for path in folder.rglob("*") if path.is_file()} - {"tiny.yaml"}
    assert not {name for name in left if name.endswith((".db", ".hdf5", ".npy", ".safetensors"))}


def test_a_space_of_which_half_cannot_be_built_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = "    - {type: max_pool, kernel_size: {choices: [2, 7]}}\n    - {type: global_pool}"
    (folder / "tiny.yaml").write_text(STUDY.replace("    - {type: global_pool}", pool))
    assert main(["tiny.yaml", "--check"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("draws:"))
    assert re.search(r"\d+ of 200 random draws can be built; the most frequent reason why not: ", line)
    assert "kernel_size is 7; expected a divisor of the length there" in line


@pytest.mark.parametrize(
    "training", ["schedule: plateau, stop_loss: 9.0", "schedule: plateau, stop_at: 0.01", "kind: post_training"]
)
def test_trainings_that_end_early_or_in_floats_are_timed_too(
    folder: Path, capsys: pytest.CaptureFixture[str], training: str
) -> None:
    (folder / "tiny.yaml").write_text(STUDY.replace("training: {", f"training: {{{training}, "))
    assert main(["tiny.yaml", "--check"]) == 0
    assert "of training, native path" in capsys.readouterr().out


def test_data_of_other_networks_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tiny.yaml").write_text(STUDY.replace("frames_per_cell: 9", "frames_per_cell: 9, profile: rothe-9"))
    assert main(["tiny.yaml", "--check"]) == 2
    assert "space.n_classes is 24; expected 9, as the profile rothe-9 has it" in capsys.readouterr().err


def test_a_wrong_file_is_refused_as_without_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tiny.yaml").write_text(STUDY.replace("trials: 4", "trials: 0"))
    assert main(["tiny.yaml", "--check"]) == 2
    assert capsys.readouterr().err == "budget.trials is 0; expected a whole number of at least 1\n"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_each_study_file_has_designs_and_data(path: Path) -> None:
    config = load_study_config(path)
    designs, _ = draw_designs(config, 20)
    assert designs
    assert measure_data(config).n_training > 0
    assert count_designs(config.search_space).combinations >= 1


@pytest.mark.parametrize("name", ["bacalhaunet_bits", "bacalhaunet_input", "rothe_vgglike", "amc_imp"])
def test_a_grids_combinations_are_counted_exactly(name: str) -> None:
    space = load_study_config(SPACES / f"{name}.yaml").search_space
    assert count_designs(space).combinations == len(list_combinations(space))


def test_repeats_variants_and_shared_values_are_counted() -> None:
    blocks = """
    - {type: input_quantizer}
    - repeat: {int: [0, 2]}
      blocks:
        - {type: conv, kernel_size: {choices: [3, 5]}, out_channels: {choices: [4, 8], as: width}}
    - one_of: {none: [], pool: [{type: max_pool, kernel_size: {choices: [2, 4]}}]}
"""
    text = STUDY.replace("    - {type: input_quantizer}\n", blocks.lstrip("\n"))
    size = count_designs(parse_study_config(text, "tiny.yaml").search_space)
    repeats = 1 + 2 + 2 * 2  # each time draws its own kernel; all share the width
    assert size.combinations == 2 * repeats * (1 + 2) * 3 * 3
    assert size.n_continuous == 1


def test_a_number_of_times_that_groups_share_is_counted_once() -> None:
    group = "    - repeat: {int: [1, 3], as: n}\n      blocks: [{type: max_pool, kernel_size: 2}]\n"
    text = STUDY.replace("    - {type: global_pool}", f"{group}{group}    - {{type: global_pool}}")
    text = text.replace("{choices: [4, 8, 16]}", "4").replace("{int: [4, 8], step: 2}", "4")
    text = text.replace("{float: [0.001, 0.1], log: true}", "0.01")
    space = parse_study_config(text, "tiny.yaml").search_space
    assert count_designs(space).combinations == len(list_combinations(space)) == 3
