import re
from collections import Counter
from pathlib import Path

import optuna
import pytest

from spaces.architecture import ArchitectureError, infer_shapes
from spaces.study_config import StudyConfig, load_study_config

SPACES = Path(__file__).parents[2] / "spaces"
STUDY_FILES = sorted(SPACES.glob("*.yaml"))

N_SUGGESTIONS = 50


def count_outcomes(config: StudyConfig) -> Counter[str]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    outcomes: Counter[str] = Counter()
    for _ in range(N_SUGGESTIONS):
        try:
            design = config.search_space.suggest(study.ask())
        except ArchitectureError:
            outcomes["refused"] += 1
        else:
            outcomes["built"] += infer_shapes(design.architecture)[-1].out_channels == config.space.n_classes
    return outcomes


def test_study_files_are_found() -> None:
    assert {path.name for path in STUDY_FILES} >= {"dsc4.yaml", "smoke.yaml", "vgg10.yaml"}


@pytest.mark.parametrize("path", STUDY_FILES, ids=lambda path: path.stem)
def test_study_file_opens_with_command_duration_and_expected_result(path: Path) -> None:
    header = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    assert header is not None
    assert f"\n# Command:   python -m search.run spaces/{path.name}\n" in header[0]
    assert re.search(r"\n# Duration:  \S+ .*\d", header[0])
    assert re.search(r"\n# Result:    \S+ ", header[0])


@pytest.mark.parametrize("path", STUDY_FILES, ids=lambda path: path.stem)
def test_study_file_is_named_like_its_study(path: Path) -> None:
    assert load_study_config(path).study.name == path.stem


SEARCHES = [path for path in STUDY_FILES if load_study_config(path).study.sampler != "grid"]


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
def test_nine_of_ten_random_suggestions_build(path: Path) -> None:
    outcomes = count_outcomes(load_study_config(path))
    assert outcomes["built"] + outcomes["refused"] == N_SUGGESTIONS
    assert outcomes["built"] >= 0.9 * N_SUGGESTIONS


WITH_FLOATS = {
    "bacalhaunet_architectures",
    "bacalhaunet_bits",
    "bacalhaunet_input",
    "hakimi_cnn",
    "mobilenetv3_small",
    "prototype_staged",
    "rothe_vgglike",
}
"""Studies that compare float networks with quantized ones."""


@pytest.mark.parametrize("path", [p for p in STUDY_FILES if p.stem not in WITH_FLOATS], ids=lambda path: path.stem)
def test_every_network_of_a_study_file_can_go_to_hardware(path: Path) -> None:
    config = load_study_config(path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    designs = [config.search_space.suggest(study.ask()) for _ in range(N_SUGGESTIONS)]
    assert all(design.architecture.is_quantized for design in designs)


def test_dsc4_holds_the_hand_found_prototype() -> None:
    prototype = {f"space.blocks[{i}].kernel_size": k for i, k in zip((1, 2, 3, 4), (27, 21, 15, 9), strict=True)}
    prototype |= {f"space.blocks[{i}].stride": s for i, s in zip((1, 2, 3, 4), (2, 1, 2, 1), strict=True)}
    prototype |= {f"space.blocks[{i}].out_channels": c for i, c in zip((1, 2, 3, 4), (24, 24, 48, 48), strict=True)}
    study = optuna.create_study()
    study.enqueue_trial(prototype)
    trial = study.ask()
    load_study_config(SPACES / "dsc4.yaml").search_space.suggest(trial)
    assert {name: trial.params[name] for name in prototype} == prototype
