"""A tiny network's RTL through the real Yosys and Verilator: what they find is told, what is wrong is found."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from fpga.claimed_build import read_result
from fpga.rtl.build_check import CheckedBuild, RtlCheckError, check_build
from fpga.rtl.simulation import find_verilator
from fpga.rtl.tools import CheckRun
from fpga.rtl_check import describe_check, find_builds, main
from fpga.run import BuildWorker, run_queue
from fpga.toolchain.finn import Finn, FinnKind
from storage.artifacts import ArtifactStore
from storage.builds import claim_build, finish_build, load_build, queue_build
from storage.database import Database, open_database
from storage.hardware_reports import BuildReport, Resources
from storage.leases import make_lease_owner
from storage.records import BuildLevel, BuildRequest, FinishedBuild
from storage.rtl_record import RtlCheck, RtlLayerCheck
from tests.fpga.exported_networks import ZCU111

KINDS = ("FMPadding_rtl", "ConvolutionInputGenerator_rtl", "MVAU_rtl", "Thresholding_rtl")

needs_verilator = pytest.mark.skipif(find_verilator() is None, reason="verilator, make and g++ are not on PATH")


@dataclass(frozen=True)
class WorkedBuild:
    """What a build worker left of a tiny network."""

    database: Database
    report: BuildReport
    folder: Path
    events: list[str]

    @property
    def check(self) -> RtlCheck:
        assert self.report.rtl_check is not None
        return self.report.rtl_check

    def find(self, kind: str) -> RtlLayerCheck:
        """The first layer of this kind."""
        return next(layer for layer in self.check.layers if layer.name.startswith(kind))


@pytest.fixture(scope="module")
def worked(finn: Finn, export_tiny: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> WorkedBuild:
    root = tmp_path_factory.mktemp("rtl")
    database, store = open_database(f"sqlite:///{root}/studies.db"), ArtifactStore(root / "artifacts")
    folder = store.make_evaluation_folder("study", 0, "0123abcd")
    for file in ("model.onnx", "proof.npz"):
        shutil.copy(export_tiny(0) / file, folder / file)
    build = queue_build(
        database,
        BuildRequest(
            study_name="study",
            trial_number=0,
            stage=0,
            model=store.relative(folder / "model.onnx"),
            reference_vectors=store.relative(folder / "proof.npz"),
            target=ZCU111,
            timeout_s=600,
            is_below_threshold=False,
            test_accuracy=None,
        ),
    )
    events: list[str] = []
    worker = BuildWorker(database, store, finn, make_lease_owner(), Event(), events.append, is_checking_rtl=True)
    run_queue(worker, is_draining=True)
    done = load_build(database, build.build_id)
    assert done.report is not None, done.message
    assert done.folder is not None
    return WorkedBuild(database, done.report, store.path(done.folder), events)


def check_again(folder: Path, finn: Finn, events: list[str]) -> CheckedBuild:
    return check_build(folder, finn, CheckRun(4, 2, 300, Event(), events.append))


@pytest.mark.slow
def test_build_is_recorded_before_its_rtl_is_checked(worked: WorkedBuild) -> None:
    succeeded, checked = (
        next(number for number, event in enumerate(worked.events) if words in event)
        for words in ("succeeded after", "has its RTL checked: Yosys synthesised")
    )

    assert succeeded < checked


@pytest.mark.slow
def test_whoever_reads_the_build_later_finds_what_was_found_of_it(worked: WorkedBuild) -> None:
    assert read_result(worked.folder, ZCU111) == worked.report


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_rtl_layer_is_synthesised(worked: WorkedBuild, kind: str) -> None:
    layers = [layer for layer in worked.report.layers if layer.name.startswith(kind)]

    assert layers
    for layer in layers:
        assert layer.by_yosys is not None, worked.find(layer.name).synthesis_note
        assert layer.by_yosys.lut > 10
        assert (layer.by_yosys.ff or 0) > 10
        assert (layer.by_yosys.dsp > 0) == (kind == "MVAU_rtl")


@pytest.mark.slow
def test_hls_layers_are_listed_as_not_synthesised(worked: WorkedBuild) -> None:
    hls = [layer for layer in worked.check.layers if "_hls" in layer.name]

    assert hls
    assert {layer.synthesis_note for layer in hls} == {"HLS, not synthesised"}
    assert "thresholding.sv" in worked.check.edited_for_yosys
    assert not any(layer.by_yosys for layer in worked.report.layers if "_hls" in layer.name)


@pytest.mark.slow
@needs_verilator
@pytest.mark.parametrize("kind", KINDS)
def test_simulated_layer_gives_the_models_words(worked: WorkedBuild, kind: str) -> None:
    layer = worked.find(kind)

    assert (layer.is_equal, layer.simulation_note) == (True, None)
    assert (layer.n_words or 0) > 50


@pytest.mark.slow
@needs_verilator
def test_thresholding_is_simulated_in_its_original_text(worked: WorkedBuild) -> None:
    assert worked.check.edited_for_verilator
    assert not {"thresholding.sv", "thresholding_axi.sv"} & set(worked.check.edited_for_verilator)


@pytest.mark.slow
@needs_verilator
def test_wrong_threshold_is_found_with_layer_and_word(
    worked: WorkedBuild, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "build"
    shutil.copytree(worked.folder, folder)
    (thresholds,) = folder.glob("generated/*/Thresholding_rtl_0_threshs_0_0.dat")
    lines = thresholds.read_text().split()
    thresholds.write_text("".join(f"7{'f' * (len(line) - 1)}\n" for line in lines))  # above every sum

    assert main(["--folder", str(folder)]) == 1

    printed = capsys.readouterr().out
    assert "1 DIFFER: Thresholding_rtl_0" in printed
    assert "- Thresholding_rtl_0: at full speed, word " in printed
    assert "; expected " in printed


@pytest.mark.slow
def test_only_code_that_changed_is_looked_at_again(worked: WorkedBuild, finn: Finn, tmp_path: Path) -> None:
    folder, events = tmp_path / "build", list[str]()
    shutil.copytree(worked.folder, folder)
    again = check_again(folder, finn, events)
    assert (again.check, events) == (worked.check, [])

    (padding,) = folder.glob("generated/*/FMPadding_rtl_0.v")
    padding.write_text(padding.read_text().replace("endmodule", "no Verilog endmodule"))
    broken = check_again(folder, finn, events)

    assert {event.split(",")[0] for event in events} <= {"Yosys on FMPadding_rtl_0", "Verilator on FMPadding_rtl_0"}
    (layer,) = (layer for layer in broken.check.layers if layer.name == "FMPadding_rtl_0")
    assert "FMPadding_rtl_0" not in broken.by_yosys
    assert layer.is_equal is None
    assert (layer.synthesis_note or "").startswith("Yosys: FMPadding_rtl_0.v:")


def test_trial_without_generated_code_is_one_clear_line(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "3", "--storage", database.url, "--artifacts", str(tmp_path)]) == 2

    assert capsys.readouterr().err == (
        "trial 3 of study has no build with generated code; python -m search.promote sends it to the build queue\n"
    )


def test_builds_of_one_stage_are_found(database: Database, tmp_path: Path) -> None:
    report = BuildReport(1, 1, 0, 0, 1.0, 1.0, "layer", 1, 1, 1)
    for stage in (0, 2):
        request = BuildRequest("study", 3, stage, "model.onnx", "proof.npz", ZCU111, 60, False, None)
        build = queue_build(database, request)
        claim_build(database, "me", 60)
        finish_build(
            database, build.build_id, "me", FinishedBuild(report, BuildLevel.CODEGEN, folder=f"builds/{stage}")
        )

    def find(**given: object) -> list[str]:
        args = Namespace(**{"study": "study", "trial": 3, "stage": None, "artifacts": tmp_path, **given})
        return [folder.name for _, folder in find_builds(database, args)]

    assert find() == ["0", "2"]
    assert find(stage=2) == ["2"]
    with pytest.raises(RtlCheckError, match="trial 3 stage 1 of study has no build with generated code"):
        find(stage=1)


def test_folder_without_a_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="has no finished build with generated code; expected one that reached codegen"):
        check_again(tmp_path, Finn.in_folder(Path("no-finn"), FinnKind.MADE), [])


CHECKED = CheckedBuild(
    estimates={
        "Thresholding_rtl_0": Resources(364, 0, 0, 0),
        "Thresholding_rtl_1": Resources(350, 0, 0, 0),
        "MVAU_rtl_0": Resources(0, 6, 0, 12),
        "VVAU_hls_0": Resources(900, 3, 0, 0),
    },
    by_yosys={
        "Thresholding_rtl_0": Resources(731, 0, 0, 0, 750),
        "MVAU_rtl_0": Resources(1_025, 0, 0, 18, 1_677),
    },
    check=RtlCheck(
        yosys="Yosys 0.70",
        verilator="Verilator 5.006",
        n_frames=4,
        edited_for_yosys=("thresholding.sv",),
        edited_for_verilator=(),
        layers=(
            RtlLayerCheck("Thresholding_rtl_0", None, 4_096, True, None),
            RtlLayerCheck("Thresholding_rtl_1", "Yosys: ERROR: no", 4_096, True, None),
            RtlLayerCheck("MVAU_rtl_0", None, 6_144, False, "at full speed, word 7 is 0a; expected 0b"),
            RtlLayerCheck("VVAU_hls_0", "HLS, not synthesised", None, None, "HLS, not simulated"),
        ),
    ),
)


def test_totals_are_over_the_layers_that_both_have() -> None:
    lines = describe_check(CHECKED).splitlines()

    assert "| Thresholding_rtl_0 | 364 | 731 | 750 | 0 | 0 | 0 | 0 | 4,096 equal |" in lines
    assert "| VVAU_hls_0 | 900 |  |  | 3 |  | 0 |  | HLS, not synthesised |" in lines
    assert "| Thresholding_rtl, all (1) | 364 | 731 | 750 | 0 | 0 | 0 | 0 | 4,096 equal |" in lines
    total = "| all that both have (2) | 364 | 1,756 | 2,427 | 6 | 0 | 12 | 18 | 4,096 equal; 1 of 2 layers DIFFER |"
    assert total in lines


def test_what_is_special_of_a_layer_stands_below_the_table() -> None:
    lines = describe_check(CHECKED).splitlines()

    assert "- Thresholding_rtl_1: Yosys: ERROR: no" in lines
    assert "- MVAU_rtl_0: at full speed, word 7 is 0a; expected 0b" in lines
    assert not any(line.startswith("- VVAU_hls_0") for line in lines)
    assert lines[-1] == "Yosys synthesised 2 of 4 layers, 2 simulated as the model; 1 DIFFER: MVAU_rtl_0"
