"""Checks of the page that shows a data set's signals."""

from pathlib import Path

import numpy as np
import pytest

from storage.dataset.radioml import DatasetError
from storage.radioml_twin import main
from storage.signals.cells import Signal
from storage.signals.modulations import generate_cell
from storage.signals.radioml_classes import CLASS_NAMES
from storage.signals.signal_sets import SIGNAL_SETS
from storage.twin.file import request_twin, write_twin
from storage.twin.signal_page import mean_power_spectrum_db, write_data_page, write_generated_page


@pytest.mark.parametrize("profile", SIGNAL_SETS)
def test_page_of_each_profile_shows_every_class_and_needs_no_network(tmp_path: Path, profile: str) -> None:
    path = tmp_path / "page.html"
    write_generated_page(path, request_twin(1, 7, profile, (30,)))
    page = path.read_text()
    class_names = SIGNAL_SETS[profile].class_names
    assert [name for name in class_names if f"<h3>{name}</h3>" not in page] == []
    assert page.count("Plotly.newPlot(") == len(class_names) + 1
    assert "<script src=" not in page
    assert len(page) < 15e6


def test_page_of_a_file_shows_the_frames_of_the_chosen_label(tmp_path: Path) -> None:
    data = tmp_path / "data.hdf5"
    write_twin(data, request_twin(64, 7, "deepsig-2018", (0, 30)))
    arguments = ["--plot", str(tmp_path / "data.html"), "--data", str(data), "--snr", "30"]
    assert main(arguments) == 0
    write_generated_page(tmp_path / "made.html", request_twin(1, 7, "deepsig-2018", (30,)))
    from_data, made = ((tmp_path / name).read_text() for name in ("data.html", "made.html"))
    assert "<h1>data.hdf5</h1>" in from_data
    assert _plotted(from_data) == _plotted(made)


def test_label_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data.hdf5"
    write_twin(data, request_twin(1, 7, "deepsig-2018", (0, 30)))
    with pytest.raises(DatasetError, match=rf"SNR label is 10; {data} has 0, 30"):
        write_data_page(tmp_path / "page.html", data, 10)
    assert not (tmp_path / "page.html").exists()


def test_label_out_of_range_and_page_that_cannot_be_written_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--plot", str(tmp_path / "page.html"), "--snr", "1000"]) == 2
    assert "SNR labels are 1000; expected rising whole numbers of dB from -100 to 100" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["--plot", str(tmp_path / "file" / "page.html")]) == 2
    assert "cannot be written: " in capsys.readouterr().err


def test_out_and_plot_write_the_twin_and_then_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, page = tmp_path / "twin.hdf5", tmp_path / "page.html"
    assert main(["--frames-per-cell", "1", "--out", str(data), "--plot", str(page)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{data}: 624 frames, 5 MiB", str(page)]
    assert "<h1>twin.hdf5</h1>" in page.read_text()


def test_white_noise_of_unit_power_is_at_zero_db() -> None:
    noise = np.random.default_rng(7).standard_normal((200, 1024, 2)).astype(np.float32).view(np.complex64)[..., 0]
    power = mean_power_spectrum_db((noise / np.sqrt(2)).astype(np.complex64))
    assert np.abs(power).max() < 2
    assert np.mean(10 ** (power / 10)) == pytest.approx(1, rel=0.01)


def test_carrier_is_drawn_at_its_frequency() -> None:
    power = mean_power_spectrum_db(_frames("FM"))
    assert np.argmax(power) / 1024 - 0.5 == pytest.approx(1 / 32, abs=2 / 1024)


def _frames(class_name: str) -> Signal:
    assert class_name in CLASS_NAMES
    (block,) = generate_cell(class_name, 30, 7, 64)
    return np.ascontiguousarray(block).view(np.complex64)[..., 0]


def _plotted(page: str) -> list[str]:
    """The data of each plot, without the random names of their places."""
    return [part.split(",", 1)[1].split("</script>")[0] for part in page.split("Plotly.newPlot(")[1:]]
