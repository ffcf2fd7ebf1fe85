"""Forbidden content of the repository."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each pattern is written so that it does not match itself.
PACKAGE_INDEX = re.compile(rb"pypi[.]org|python[h]osted[.]org|registry[.]npmjs|(?:deb|security)[.]debian[.]org")
DOWNLOAD = re.compile(rb"https?://[^\s\"')>]+[.](?:whl|tgz)\b")
ONE_MACHINE = re.compile(rb"(?<![\w.~>}-])/(?:home|root|work|Users)/\w|\b[A-Z]:\\Users\\")
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is tracked or would be by `git add .`."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in output.split("\0") if (path := ROOT / name).is_file()]


def containing(pattern: re.Pattern[bytes], files: list[Path]) -> list[str]:
    found = [(path, pattern.search(path.read_bytes())) for path in files if path.suffix not in {".png", ".gif"}]
    return [f"{path.relative_to(ROOT)}: {match.group().decode()}" for path, match in found if match]


def test_the_lock_is_not_kept(files: list[Path]):
    assert [path for path in files if path.name == "uv.lock"] == []


def test_no_package_index_and_no_download_is_named(files: list[Path]):
    assert containing(PACKAGE_INDEX, files) == []
    assert containing(DOWNLOAD, files) == []


def test_no_path_of_one_machine_is_named(files: list[Path]):
    assert containing(ONE_MACHINE, files) == []


def test_no_file_is_over_a_megabyte(files: list[Path]):
    # Trained models have a bound of their own, in their package's tests.
    others = [path for path in files if path.suffix != ".safetensors"]
    assert [str(path.relative_to(ROOT)) for path in others if path.stat().st_size > MEGABYTE] == []


def test_lines_of_markdown_have_at_most_120_characters(files: list[Path]):
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        if path.suffix == ".md"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        # Tables, pictures and equations cannot be broken.
        if len(line) > 120 and not line.startswith(("|", "![")) and "\\" not in line[:-1]
    ]
    assert long == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (PACKAGE_INDEX, b"https://" + b"pypi" + b".org/simple"),
        (DOWNLOAD, b"https://example.com/a-1.0-py3-none-any" + b".whl"),
        (ONE_MACHINE, b'open("' + b"/home" + b'/me/data.csv")'),
        (ONE_MACHINE, b"cd " + b"/root" + b"/x"),
    ],
)
def test_the_patterns_find_what_they_look_for(pattern: re.Pattern[bytes], text: bytes):
    assert pattern.search(text)
