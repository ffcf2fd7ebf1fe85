"""Script of the pins, which changes the pins and nothing else."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pin = runpy.run_path(str(ROOT / "scripts" / "pin.py"))

FILE = b"""# A comment, \xc3\xa4, trailing space \n
[tool.uv]
build-constraint-dependencies = ["uv-build==1"]
constraint-dependencies = [
    "numpy==2.4.6 ; python_full_version < '3.12'",
    "torch==2.13.0",
]

[tool.other]
list = [
    "torch==2.13.0",
]
"""


def test_the_list_is_replaced_and_the_rest_is_kept():
    new = pin["with_pins"](FILE, ["torch==2.14.0"])
    assert new == FILE.replace(b"    \"numpy==2.4.6 ; python_full_version < '3.12'\",\n", b"", 1).replace(
        b"torch==2.13.0", b"torch==2.14.0", 1
    )
    assert pin["pinned"](new) == ["torch==2.14.0"]


def test_the_same_pins_give_the_same_file():
    assert pin["with_pins"](FILE, pin["pinned"](FILE)) == FILE


def test_a_file_without_the_list_is_an_error():
    with pytest.raises(SystemExit, match="got 0"):
        pin["with_pins"](b"[tool.uv]\nconstraint-dependencies = []\n", ["torch==2.14.0"])


def test_the_name_of_a_requirement_ends_where_its_version_starts():
    assert pin["name"]("nvidia-cudnn-cu13==9.20.0.48 ; sys_platform == 'linux'") == "nvidia-cudnn-cu13"


def test_every_pin_is_exact():
    for requirement in pin["pinned"]((ROOT / "pyproject.toml").read_bytes()):
        assert requirement.startswith(pin["name"](requirement) + "=="), requirement
