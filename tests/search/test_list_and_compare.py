"""The commands that list studies, and that set networks side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search import __main__ as overview
from search import compare, run
from search import list as listing

STUDY = """
study: {name: NAME, seed: 1, sampler: grid}
dataset: {twin: {frames_per_cell: 8}}
space:
  blocks:
    - {type: input_quantizer}
    - {type: conv, kernel_size: 9, stride: {choices: [8, 16]}, out_channels: 4}
    - {type: global_pool}
    - {type: linear, out_features: 24}
training: {batch_size: 128}
pruning: {stages: [{epsilon: 0.1, weight_decay: 0, epochs: 0}]}
budget: {trials: 2, epochs: 1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        Path(f"{name}.yaml").write_text(STUDY.replace("NAME", name))
        assert run.main([f"{name}.yaml", "--local", "--no-build", "--no-dashboard"]) == 0
    return tmp_path


def test_studies_are_listed_with_their_best_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert listing.main([]) == 0
    out = capsys.readouterr().out
    assert out.index("first") < out.index("second")
    assert out.count("2 of 2") == 2
    assert "below the threshold" in out
    assert listing.main(["--json"]) == 0
    studies = json.loads(capsys.readouterr().out)["studies"]
    assert [(line["study"], line["complete"], line["wanted"], line["builds"]) for line in studies] == [
        ("first", 2, 2, 0),
        ("second", 2, 2, 0),
    ]
    assert listing.main(["--storage", "sqlite:///none.db"]) == 2
    assert "none.db" in capsys.readouterr().err


def test_an_extended_study_is_listed_with_what_it_wants_now(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["first.yaml", "--local", "--no-build", "--no-dashboard", "--extend", "1"]) == 0
    capsys.readouterr()
    assert listing.main(["--json"]) == 0
    first = json.loads(capsys.readouterr().out)["studies"][0]
    assert (first["complete"], first["wanted"]) == (2, 3), "its grid has no third network"


def test_what_differs_between_networks_is_marked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert compare.main(["first", "0", "1:0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    stride = next(line for line in lines if "block 1: stride" in line)
    assert compare.MARK in stride
    assert ("8" in stride, "16" in stride) == (True, True)
    assert any("trial 0 stage 1" in line and "trial 1 stage 0" in line for line in lines)
    assert compare.MARK not in next(line for line in lines if "epochs" in line)
    assert not any("kernel size" in line for line in lines)
    assert compare.main(["first", "0", "0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(one == other for _, one, other in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first", "0", "9"], "trial is 9; expected a complete trial of first"),
        (["third", "0", "1"], "study is third; expected one of those in the database: first, second"),
    ],
)
def test_what_is_not_there_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    capsys.readouterr()
    assert compare.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["first", "0"], ["first", "0", "a"], ["first"]])
def test_wrong_networks_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(arguments)
    assert ended.value.code == 2
    assert "expected" in capsys.readouterr().err or len(arguments) == 1


def test_the_overview_names_commands_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert overview.main([]) == 0
    root = Path(overview.__file__).parents[1]
    for line in capsys.readouterr().out.splitlines():
        module = line.removeprefix("python -m ").split()[0]
        assert (root / module.replace(".", "/")).with_suffix(".py").is_file()
