import os
import stat
from pathlib import Path

import pytest

from discrete_diffusion.datasets.cache import keep


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_cached_files_are_as_readable_as_the_user_wants_files_to_be(tmp_path: Path, umask: int, mode: int):
    before = os.umask(umask)
    try:
        keep(tmp_path / "rows", lambda partial: Path(partial).write_text("x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "rows").stat().st_mode) == mode
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_a_file_that_cannot_be_finished_leaves_the_previous_one(tmp_path: Path):
    (tmp_path / "rows").write_text("before")

    def fails(partial: str) -> None:
        Path(partial).write_text("a part")
        raise OSError("No space left on device")

    keep(tmp_path / "rows", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]
    assert (tmp_path / "rows").read_text() == "before"
