"""Command lines of options."""

import pytest

from discrete_diffusion.commandline.parser import OneLineParser


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]):
    parser = OneLineParser(prog="trainer export")
    parser.add_argument("run")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args([])
    assert stop.value.code == 2
    expected = "trainer export: The following arguments are required: run: see `--help`.\n"
    assert capsys.readouterr().err == expected
