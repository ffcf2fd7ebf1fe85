"""Installed packages in the test of a member's wheel: the member and the members that it requires, as files."""

import runpy
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
alone = runpy.run_path(str(ROOT / "scripts" / "alone.py"))


def wheel(folder: Path, member: str, *lines: str, version: str = "0.1.0") -> Path:
    stem = f"discrete_diffusion_{member}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        text = "\n".join(["Metadata-Version: 2.4", f"Name: discrete-diffusion-{member}", *lines, "", "# Readme"])
        archive.writestr(f"{stem}.dist-info/METADATA", text)
        archive.writestr(f"discrete_diffusion/{member}/METADATA", "Name: not this one")
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, Path]:
    wheel(tmp_path, "schedules", "Requires-Dist: torch>=2.6")
    wheel(tmp_path, "processes", "Requires-Dist: discrete-diffusion-schedules<0.2,>=0.1", "Requires-Dist: torch>=2.6")
    wheel(tmp_path, "datasets", "Provides-Extra: rdkit", "Provides-Extra: images")
    wheel(tmp_path, "backbones", "Provides-Extra: mamba", "Requires-Dist: mamba-ssm>=2.2 ; extra == 'mamba'")
    required = [
        "Requires-Dist: discrete-diffusion-datasets[rdkit]>=0.1",
        "Requires-Dist: discrete-diffusion-processes>=0.1",
    ]
    wheel(tmp_path, "trainer", *required)
    return alone["wheels_in"](tmp_path)


def test_a_member_is_installed_with_those_that_it_asks_for_and_no_other(wheels: dict[str, Path]):
    assert set(wheels) == {"schedules", "processes", "datasets", "backbones", "trainer"}
    assert alone["requirements_of"]("trainer", wheels) == {"trainer", "datasets", "processes", "schedules"}
    needed = [str(wheels[name]) for name in ("trainer", "datasets", "processes", "schedules")]
    assert alone["requirements"]("trainer", wheels) == needed
    assert alone["requirements"]("schedules", wheels) == [str(wheels["schedules"])]


def test_extras_are_installed_where_the_tests_need_them(wheels: dict[str, Path]):
    assert alone["requirements"]("datasets", wheels) == [f"{wheels['datasets']}[rdkit,images]"]
    assert alone["requirements"]("backbones", wheels) == [str(wheels["backbones"])]


def test_a_missing_wheel_and_one_too_many_are_named(wheels: dict[str, Path], tmp_path: Path):
    with pytest.raises(SystemExit, match="Expected a wheel of discrete-diffusion-guidance: run `uv run just build`"):
        alone["requirements_of"]("guidance", wheels)
    wheel(tmp_path, "schedules", version="0.2.0")
    with pytest.raises(SystemExit, match=r"Expected one wheel of schedules in .*-0\.1\.0-.* and .*-0\.2\.0-"):
        alone["wheels_in"](tmp_path)
