import pytest

from search.command_line import drop_extension, parse_arguments


@pytest.mark.parametrize(("text", "seconds"), [("600s", 600), ("10m", 600), ("1h", 3600), ("0.5m", 30)])
def test_time_limit_has_a_unit(text: str, seconds: float) -> None:
    assert parse_arguments(["study.yaml", "--time-limit", text]).time_limit == seconds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--time-limit", "10"], "--time-limit: it is 10; expected a number with s, m or h"),
        (["--time-limit", "0s"], "--time-limit: it is 0s; expected a number"),
        (["--trials", "0"], "--trials: it is 0; expected a whole number from 1"),
        (["--extend", "-3"], "--extend: it is -3; expected a whole number from 1"),
        (["--dashboard-port", "70000"], "--dashboard-port: it is 70000; expected 1 to 65535"),
        (["--trials", "3", "--extend", "3"], "not allowed with argument"),
        (["--local", "--ray-address", "10.0.0.1:6379"], "--local and --ray-address are given; expected one of them"),
    ],
)
def test_wrong_option_is_refused_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse_arguments(["study.yaml", *options])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("extension", [["--extend", "3"], ["--extend=3"], []])
def test_extension_is_dropped_however_it_was_written(extension: list[str]) -> None:
    assert parse_arguments(["study.yaml", *extension, "--local"]).local
    assert drop_extension(["study.yaml", *extension, "--local"]) == ["study.yaml", "--local"]
