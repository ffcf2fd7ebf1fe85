"""The SLURM example of docs/scale.md under a stub of `sbatch`: settings and job agree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from discrete_diffusion.trainer import resolvers
from discrete_diffusion.trainer.launching import count_accumulated
from discrete_diffusion.trainer.schema import check_run

SBATCH = """
import os, re, subprocess, sys
options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", open(sys.argv[1]).read(), re.M))
tasks = int(options["nodes"]) * int(options["ntasks-per-node"])
job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": options["job-name"], "SLURM_NNODES": options["nodes"]}
subprocess.run(["bash", sys.argv[1]], env={**os.environ, **job, "SLURM_NTASKS": str(tasks)}, check=True)
print("Submitted batch job 7")
"""
SRUN = "import os, sys; os.execvpe(sys.argv[1], sys.argv[1:], {**os.environ, 'SLURM_STEP_ID': '0'})"
UV = """
import json, os, sys
slurm = {name: value for name, value in os.environ.items() if name.startswith("SLURM_")}
print(json.dumps([sys.argv[1:], slurm]))
"""


def submit(script: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Submit a script to the stub; return the command of the first process and its variables of SLURM."""
    for name, program in (("sbatch", SBATCH), ("srun", SRUN), ("uv", UV)):
        (folder / name).write_text(f"#!{sys.executable}\n{program}")
        (folder / name).chmod(0o755)
    (folder / "job.sh").write_text(script)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["sbatch", "job.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    printed, submitted = done.stdout.splitlines()
    assert submitted == "Submitted batch job 7"
    command, variables = json.loads(printed)
    return command, variables


@pytest.fixture
def script() -> str:
    page = Path(__file__).parents[1] / "docs" / "scale.md"
    (found,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page.read_text(encoding="utf-8"), re.S)
    return found


def check(command: list[str], variables: dict[str, str], patch: pytest.MonkeyPatch) -> int:
    """Check the settings of a command in a process of a job; return the number of accumulated batches."""
    for name, value in variables.items():
        patch.setenv(name, value)
    assert command[:2] == ["run", "trainer"]
    # The nodes of the job have the devices that this machine may lack.
    overrides = [*(one for one in command[2:] if not one.startswith("hydra.")), "trainer.accelerator=gpu"]
    resolvers.register()
    with initialize_config_module("discrete_diffusion.trainer.config", version_base="1.3"):
        config = compose("trainer", ["hydra.runtime.output_dir=run", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    check_run(config)
    return count_accumulated(config)


def test_the_job_starts_the_processes_that_the_settings_request(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    command, variables = submit(script, tmp_path)
    assert check(command, variables, monkeypatch) == 1
    # Without a folder of its own, a requeued job would begin anew.
    assert any(one.startswith("hydra.run.dir=") for one in command)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--nodes=2", "--nodes=1"), "of srun, which is 4, got 4 × 2"),
        (("trainer.devices=4", "trainer.devices=2"), "of srun, which is 8, got 2 × 2"),
        (("srun uv", "uv"), "of this job without srun, which is 1, got 4 × 2"),
    ],
)
def test_a_job_that_disagrees_is_refused(
    script: str, change: tuple[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert change[0] in script
    command, variables = submit(script.replace(*change), tmp_path)
    with pytest.raises(ValueError, match=message):
        check(command, variables, monkeypatch)
