"""Python programs in processes of their own, for tests, that do not import their libraries anew.

Importing torch, Lightning and transformers takes seconds, forking a process that has imported them milliseconds. Where
processes cannot be forked (Windows), they are started as usual.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

_HEAVY = ("datasets", "hydra", "lightning.pytorch", "matplotlib.pyplot", "rdkit.Chem", "tensorboard", "transformers")
_OURS = ("checkpoints", "datasets", "eval", "guidance", "evaluator.evaluate", "evaluator.generate", "evaluator.score")
_TRAINER = ("trainer.train", "trainer.train_classifier", "trainer.fitting", "trainer.export")

_forks = "forkserver" in multiprocessing.get_all_start_methods()
_context = multiprocessing.get_context("forkserver" if _forks else "spawn")
if _forks:
    # Modules that the environment lacks are left out.
    _context.set_forkserver_preload([*_HEAVY, *(f"discrete_diffusion.{name}" for name in (*_OURS, *_TRAINER))])


class Program:
    """Running program, with the methods of `subprocess.Popen` that the tests need.

    Args:
        arguments: Arguments of `python`: `-m MODULE ...` or `FILE ...`.
        cwd: Folder in which the program runs.
        environment: Environment variables to set. Libraries that read theirs on import do not see them.
    """

    def __init__(self, *arguments: str | Path, cwd: Path, **environment: str):
        self.args = list(map(str, arguments))
        self._folder = TemporaryDirectory()
        self._output = Path(self._folder.name, "stdout"), Path(self._folder.name, "stderr")
        self._process = _context.Process(target=_execute, args=(self.args, cwd, self._output, environment))
        self._process.start()
        atexit.register(self.kill)  # else the tests wait for it at their end

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or minus the signal that ended the program, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program if it runs."""
        self._process.kill()

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Return the exit code and the output at the end of the program.

        Args:
            timeout: Seconds to wait.

        Raises:
            subprocess.TimeoutExpired: If it runs for longer.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        out, err = (path.read_text() if path.exists() else "" for path in self._output)
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.args, self.returncode, out, err)


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return Program(*arguments, cwd=cwd, **environment).wait()


def _execute(arguments: list[str], cwd: Path, output: tuple[Path, Path], environment: dict[str, str]) -> None:
    """Do what `python ARGUMENTS` does, in this process."""
    os.chdir(cwd)
    os.environ.update(environment)
    for stream, path in zip((sys.stdout, sys.stderr), output, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path.insert(0, str(cwd))
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
