"""Two runs in one folder."""

import os
from pathlib import Path

import pytest

from discrete_diffusion.commandline.lock import FolderLock


def test_a_run_locks_its_folder(run, tmp_path: Path):
    lock = FolderLock(tmp_path, work=f"training in {tmp_path}", setting="hydra.run.dir")
    for options in ([], ["resume=anything"]):
        with pytest.raises(ValueError, match=f"process {os.getpid()} is training in"):
            run(tmp_path, *options)
    assert not (tmp_path / "settings.yaml").exists()
    lock.release()
    run(tmp_path, "preview.samples=0")
    FolderLock(tmp_path, work="training", setting="hydra.run.dir").release()  # the run has released it
