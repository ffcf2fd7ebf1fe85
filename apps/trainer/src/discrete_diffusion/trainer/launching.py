"""Processes of a training run: their number, the rows of a step in each, and restarts by a scheduler."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

RESTARTS = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
"""Variables in which SLURM and torchrun count the restarts of a job."""

CLUSTER = ("MASTER_ADDR", "NODE_RANK", "GROUP_RANK", "SLURM_NTASKS", "LSB_JOBID", "PBS_NODEFILE", "KUBERNETES_PORT")
"""Variables of launchers from which Lightning finds the other processes."""


def count_processes(config: DictConfig) -> int:
    """Return the number of processes that the settings request: devices of a node times nodes."""
    return _devices(config) * config.trainer.get("num_nodes", 1)


def count_accumulated(config: DictConfig) -> int:
    """Return the number of batches of each process in one step.

    It follows from `global_batch_size`, if that is set: rows of a step = `batch_size` × processes × batches.

    Raises:
        ValueError: If no number of batches gives `global_batch_size`, or the settings request another number.
    """
    rows, accumulated = config.get("global_batch_size"), config.trainer.accumulate_grad_batches
    if rows is None:
        return accumulated
    processes = count_processes(config)
    derived, rest = divmod(rows, config.batch_size * processes)
    if rest or not derived:
        raise ValueError(
            f"Expected a `global_batch_size` divisible by `batch_size` times the number of processes, got {rows} for "
            f"{config.batch_size} × {processes}."
        )
    if accumulated not in (1, derived):
        raise ValueError(
            f"Expected `trainer.accumulate_grad_batches` of {derived} or none for a `global_batch_size` of {rows} = "
            f"{config.batch_size} × {processes} × {derived}, got {accumulated}."
        )
    return derived


def expect_processes(config: DictConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Compare the number of processes that torchrun or SLURM has started with the settings.

    Raises:
        ValueError: If they differ: each process would train on its own, or wait for others that never come. Or if a
            process of a `--multirun` would start others, which would run the sweep again.
    """
    launcher, started = _started(environment)
    devices, nodes, requested = _devices(config), config.trainer.get("num_nodes", 1), count_processes(config)
    if launcher is None:
        sweeps = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        if requested > 1 and sweeps:
            raise ValueError(
                f"Expected one process for each job of this --multirun, got `trainer.devices={devices}`: train on "
                "several devices with hydra/launcher=submitit_slurm, or one run after the other."
            )
        if nodes > 1 and not any(name in environment for name in CLUSTER):
            raise ValueError(
                f"Expected `trainer.num_nodes` of 1 without a launcher, got {nodes}: start the command on every node "
                "by torchrun or srun, or this process waits for the others."
            )
        return
    if started != requested:
        raise ValueError(
            f"Expected `trainer.devices` × `trainer.num_nodes` to be the number of processes of {launcher}, which is "
            f"{started}, got {devices} × {nodes}."
        )


def is_restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether SLURM has requeued this job, or torchrun has restarted this process."""
    return any(environment.get(name, "0") not in ("", "0") for name in RESTARTS)


def requeue(folder: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """Ask SLURM to run the job of this process again, and return a line for the user; None outside of a SLURM job.

    The job has to name its run folder, or it would not find its run again.
    """
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        return None
    overrides = HydraConfig.get().overrides.hydra
    if HydraConfig.get().mode != RunMode.MULTIRUN and not any(one.startswith("hydra.run.dir=") for one in overrides):
        return f"Job {job} is not requeued: it would train in a new folder. Set hydra.run.dir={folder}."
    if "SLURM_ARRAY_JOB_ID" in environment and "SLURM_ARRAY_TASK_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    command = shutil.which("scontrol")
    if command is None:
        return f"Job {job} is not requeued: there is no scontrol."
    done = subprocess.run([command, "requeue", job], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"Job {job} is not requeued: {' '.join((done.stderr or done.stdout).split())}"
    return f"Job {job} is requeued, and resumes this run."


def _devices(config: DictConfig) -> int:
    devices = config.trainer.devices
    if isinstance(devices, str) and "," in devices:
        return len([one for one in devices.split(",") if one.strip()])
    if devices in ("auto", "-1", -1):
        import torch

        return 1 if config.trainer.accelerator == "cpu" else max(1, torch.accelerator.device_count())
    return int(devices) if isinstance(devices, int | str) else len(devices)


def _started(environment: Mapping[str, str]) -> tuple[str | None, int]:
    """Return the launcher of the processes of this run, None without one, and their number."""
    if "TORCHELASTIC_RUN_ID" in environment:
        return "torchrun", int(environment.get("WORLD_SIZE", "1"))
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        # Without srun, the script of a job runs once, however many tasks it has requested.
        if "SLURM_STEP_ID" in environment or "SLURM_STEPID" in environment:
            return "srun", int(environment["SLURM_NTASKS"])
        return "this job without srun", 1
    if "LOCAL_RANK" in environment and "WORLD_SIZE" in environment:
        return "LOCAL_RANK and WORLD_SIZE", int(environment["WORLD_SIZE"])
    return None, 1
