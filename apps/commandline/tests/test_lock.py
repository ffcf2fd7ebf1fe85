"""Two processes in one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from discrete_diffusion.commandline.lock import FolderLock, OutputLock

HOLD = """
import sys, time
from pathlib import Path
from discrete_diffusion.commandline.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), work="at work", setting="output")
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_and_a_dead_one_is_not_waited_for(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"process {holder.pid} is training.*choose another output") as refused:
        FolderLock(tmp_path, work="training", setting="output")
    assert "\n" not in str(refused.value)
    holder.kill()
    holder.communicate()
    assert (tmp_path / ".pid").exists()
    with FolderLock(tmp_path, work="training", setting="output"):
        assert (tmp_path / ".pid").read_text() == str(os.getpid())
    FolderLock(tmp_path, work="training", setting="output").release()


def test_the_lock_of_an_output_leaves_nothing_behind(tmp_path: Path):
    with OutputLock(tmp_path / "new" / "folder" / "out.csv"):
        with pytest.raises(ValueError, match=f"process {os.getpid()} is writing to .*out.csv: .* another output"):
            OutputLock(tmp_path / "new" / "folder" / "out.csv")
        OutputLock(tmp_path / "new" / "folder" / "other.csv").release()
    assert not (tmp_path / "new").exists()
    with OutputLock(tmp_path / "new" / "out.csv"):
        (tmp_path / "new" / "out.csv").touch()
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["out.csv"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can create a file")
def test_a_folder_that_takes_no_file_is_not_taken_for_a_locked_one():
    with pytest.raises(OSError, match=r"No such file|denied"):
        OutputLock(Path("/proc/out.csv"))
