import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError

from discrete_diffusion.commandline import report_errors

HINTS = {FileNotFoundError: "train one with `uv run trainer`", OSError: "free some space"}


def fail(error: BaseException) -> None:
    with report_errors("evaluator", lambda: HINTS):
        raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("Expected `gamma` >= 0, got -1."), "Expected `gamma` >= 0, got -1."),
        (FileNotFoundError("No checkpoint."), "No checkpoint: train one with `uv run trainer`."),
        (PermissionError("Cannot write."), "Cannot write: free some space."),
        (ImportError("No module named 'rdkit'"), "No module named 'rdkit'"),
        (ConfigKeyError("Unknown key"), "Unknown key"),
        (ConfigCompositionException("Could not find 'a'\nSearch path:\n..."), "Could not find 'a'"),
        (ValueError(), "ValueError"),
        (MemoryError(), "The memory of this machine does not suffice: MemoryError"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "The memory of this machine does not suffice: [enforce fail] DefaultCPUAllocator: can't allocate memory",
        ),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        fail(error)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"evaluator: {line}\n"


def test_a_removed_setting_is_named(capsys: pytest.CaptureFixture[str]):
    config = OmegaConf.create({"data": {}})
    OmegaConf.set_struct(config, True)
    with pytest.raises(SystemExit), report_errors("trainer"):
        _ = config.data.path
    assert capsys.readouterr().err == "trainer: Expected the setting `data.path`, but it was removed.\n"


def test_the_cause_of_a_failed_instantiation_is_reported(capsys: pytest.CaptureFixture[str]):
    error = InstantiationException("Error in call to target")
    error.__cause__ = ValueError("Expected `k` >= 1, got 0.")
    with pytest.raises(SystemExit):
        fail(error)
    assert capsys.readouterr().err == "evaluator: Expected `k` >= 1, got 0.\n"


def _breaks(size: int) -> None:
    raise TypeError(f"unsupported operand: {size}")


@pytest.mark.parametrize(
    ("settings", "code", "line"),
    [
        ({"_target_": "os.fspath"}, 2, "evaluator: The target of `rows` does not take its settings: fspath() missing"),
        ({"_target_": f"{__name__}._breaks", "length": 3}, 2, "evaluator: The target of `rows` does not take its"),
        ({"_target_": f"{__name__}._breaks", "size": 3}, 70, "evaluator: This is a bug"),
    ],
)
def test_a_target_that_takes_other_arguments_is_a_mistake_in_the_settings(
    settings: dict[str, object], code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(_breaks=_breaks))
    with pytest.raises(SystemExit) as stop, report_errors("evaluator"):
        instantiate(OmegaConf.create({"rows": settings}).rows)
    assert stop.value.code == code
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith(line)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bug_names_the_file_of_its_traceback(wrapped: bool, capsys: pytest.CaptureFixture[str]):
    error: Exception = ZeroDivisionError("division by zero")
    if wrapped:
        error = InstantiationException("Error in call to target")
        error.__cause__ = ZeroDivisionError("division by zero")
    with pytest.raises(SystemExit) as stop:
        fail(error)
    assert stop.value.code == 70
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "bug" in line
    assert "ZeroDivisionError: division by zero" in line
    file = Path(line.split()[-1].rstrip("."))
    assert "Traceback" in file.read_text(encoding="utf-8")
    file.unlink()


class MisconfigurationException(Exception):  # noqa: N818, the name of the library
    """Error of the name and module of Lightning's."""


MisconfigurationException.__module__ = "lightning.fabric.utilities.exceptions"


def test_an_error_of_a_library_about_the_settings_is_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        fail(MisconfigurationException("Two\nlines"))
    assert (stop.value.code, capsys.readouterr().err) == (2, "evaluator: Two lines\n")


def test_the_traceback_of_every_error_can_be_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="bad"):
        fail(ValueError("bad"))


def test_an_interrupt_exits_with_130(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        fail(KeyboardInterrupt())
    assert stop.value.code == 130
    assert capsys.readouterr().err == ""


def test_a_path_that_cannot_be_opened_is_named_without_a_number(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop, report_errors("command"):
        Path("no/such/file").read_text()
    assert stop.value.code == 2
    assert capsys.readouterr().err == "command: No such file or directory: no/such/file\n"


def test_a_reader_that_has_enough_ends_the_command_without_a_message(tmp_path: Path):
    program = """
import sys
from discrete_diffusion.commandline import report_errors
with report_errors("writer"):
    while True:
        print("line")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.readline() == b"line\n"
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 141
