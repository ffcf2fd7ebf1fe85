"""Two runs in one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from discrete_diffusion.trainer.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from discrete_diffusion.trainer.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_and_a_dead_one_is_not_waited_for(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"process {holder.pid} is training in {tmp_path}") as refused:
        RunLock(tmp_path)
    assert "\n" not in str(refused.value)
    holder.kill()
    holder.communicate()
    assert (tmp_path / ".pid").exists()
    lock = RunLock(tmp_path)
    assert (tmp_path / ".pid").read_text() == str(os.getpid())
    lock.release()
    RunLock(tmp_path).release()


def test_a_run_locks_its_folder(run, tmp_path: Path):
    lock = RunLock(tmp_path)
    for options in ([], ["resume=anything"]):
        with pytest.raises(ValueError, match=f"process {os.getpid()} is training in"):
            run(tmp_path, *options)
    assert not (tmp_path / "settings.yaml").exists()
    lock.release()
    run(tmp_path, "preview.samples=0")
    RunLock(tmp_path).release()  # the run has released it
