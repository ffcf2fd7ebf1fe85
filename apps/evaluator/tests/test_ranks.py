"""Evaluations and files of sequences by several processes."""

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Barrier, Lock
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.generate import generate
from discrete_diffusion.evaluator.likelihood import measure_likelihood, measure_order_likelihood
from discrete_diffusion.evaluator.ranks import LostProcessError, Ranks, launched, open_ranks
from discrete_diffusion.evaluator.record import Record
from discrete_diffusion.evaluator.score import score
from discrete_diffusion.guidance import LowestEntropy

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]
SMALL = ["gammas=[0,1]", "samples=11", "batch_size=3", "sampling.steps=2", "pictures.trajectories=2"]


@dataclass(frozen=True)
class Together(Ranks):
    """Position among threads that stand for processes."""

    board: list[bytes] = field(default_factory=list)
    barrier: Barrier = field(default_factory=lambda: Barrier(1))

    def _exchange(self, own: Any, *, failed: bool = False) -> list[Any]:
        self.board[self.rank] = pickle.dumps(own)
        self.barrier.wait(60)
        received = [pickle.loads(message) for message in self.board]
        self.barrier.wait(60)
        return received


def together(count: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """Return the result of every rank."""
    board, barrier = [b""] * count, Barrier(count)

    def run(rank: int) -> Any:
        try:
            return work(Together(rank, count, rank, board, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run, rank) for rank in range(count)]]


@pytest.fixture(autouse=True)
def one_load_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share what is global while a model is built; processes do not."""
    lock = Lock()

    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return load(*args, **kwargs)

    for module in ("evaluate", "generate", "score"):
        monkeypatch.setattr(f"discrete_diffusion.evaluator.{module}.load", locked)


def contents(directory: Path) -> dict[str, Any]:
    """Return the tables of an evaluation without times, and its measured likelihood."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        found[str(path.relative_to(directory))] = None
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            found[str(path.relative_to(directory))] = [
                {key: value for key, value in row.items() if "seconds" not in key} for row in rows
            ]
    return {**found, "likelihood": json.loads((directory / "summary.json").read_text()).get("likelihood")}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_item_has_one_process_and_results_keep_their_order(count: int):
    items = [f"item {i}" for i in range(10)]
    shares = [Ranks(rank, count).share(items) for rank in range(count)]
    assert sorted(pair for share in shares for pair in share) == sorted(enumerate(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares[0][0] == (0, "item 0")

    def work(ranks: Ranks) -> tuple[list[str], int]:
        own = [(number, item.upper()) for number, item in ranks.share(items)]
        return ranks.collect(own), ranks.broadcast(ranks.rank + 5)

    assert together(count, work) == [([item.upper() for item in items], 5)] * count


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("table", [*SMALL, "pictures.draw=true", "data_labels=true"]),
        ("mdlm", ["samples=7", "batch_size=3", "sampler=first_hitting", "guidance=none", "likelihood=false"]),
        ("udlm", [*SMALL, "guidance=particles", "guidance.particles.method.particles=3", "batch_size=9", "seeds=[1]"]),
        ("udlm", [*SMALL, "guidance=svdd", "likelihood=false", "seeds=[1]"]),
    ],
)
def test_several_processes_give_the_files_of_one(
    kind: str, options: list[str], configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    for count in (1, 3):
        config = configured(f"checkpoint={checkpoint(kind)}", f"output={tmp_path / str(count)}", *options)
        directories = together(count, partial(evaluate, config))
        assert directories == [tmp_path / str(count), *[None] * (count - 1)]
    assert contents(tmp_path / "3") == contents(tmp_path / "1")
    if "pictures.draw=true" in options:
        assert (tmp_path / "3" / "trajectory.gif").read_bytes() == (tmp_path / "1" / "trajectory.gif").read_bytes()


@pytest.mark.parametrize("kind", ["udlm", "mdlm", "ar"])
def test_processes_draw_the_noise_of_a_likelihood_that_one_would(kind: str, checkpoint: Checkpoint):
    model = load(checkpoint(kind))
    rows = model.data().validation.select(range(10))
    measure = partial(
        measure_likelihood,
        model,
        rows,
        repeats=2,
        batch_size=3,
        device=torch.device("cpu"),
        advance=lambda count: None,
        seed=1,
    )
    assert together(3, lambda ranks: measure(ranks=ranks)) == [measure()] * 3


def test_processes_share_a_likelihood_under_an_order(checkpoint: Checkpoint):
    model = load(checkpoint("mdlm"))
    rows = model.data().validation.select(range(4))
    measure = partial(
        measure_order_likelihood,
        model,
        rows,
        LowestEntropy(),
        batch_size=1,
        device=torch.device("cpu"),
        advance=lambda count: None,
    )
    assert together(2, lambda ranks: measure(ranks=ranks)) == [measure()] * 2


def test_an_unfinished_evaluation_goes_on_with_another_number_of_processes(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    common = [f"checkpoint={checkpoint('table')}", *SMALL]
    evaluate(configured(*common, f"output={tmp_path / 'whole'}"))
    resumed, add = configured(*common, f"output={tmp_path / 'resumed'}"), Record.add

    def stopping(self: Record, *args: Any) -> None:
        add(self, *args)
        if len(self.rows) == 3:
            raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Record, "add", stopping)
        with pytest.raises(ConnectionError):
            evaluate(resumed)
    together(2, partial(evaluate, resumed))
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


@pytest.mark.parametrize("options", [[], ["unique=true"], ["valid=true", "unique=true", "max_draws=40"]])
def test_several_processes_generate_the_file_of_one(options: list[str], checkpoint: Checkpoint, tmp_path: Path):
    counts = []
    for count in (1, 3):
        with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
            config = compose(
                "generate",
                [
                    f"checkpoint={checkpoint('udlm')}",
                    f"output={tmp_path / f'{count}.csv'}",
                    "count=20",
                    "batch_size=3",
                    "sampling.steps=2",
                    *options,
                ],
            )
        counts.append(together(count, partial(generate, config)))
    assert counts[1] == [counts[0][0], {}, {}]
    assert (tmp_path / "3.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("options", [[], ["order=lowest_entropy"]])
def test_several_processes_score_the_file_of_one(options: list[str], checkpoint: Checkpoint, tmp_path: Path):
    strings = ["CCO", "c1ccccc1", "XYZ", "", "CC(N)=O", "CCC", "C=O", "CCN"]
    (tmp_path / "strings.csv").write_text("smiles,row\n" + "".join(f"{one},{i}\n" for i, one in enumerate(strings)))
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        common = [
            f"checkpoint={checkpoint('mdlm')}",
            f"data.path={tmp_path / 'strings.csv'}",
            "batch_size=2",
            "draws=2",
        ]
        configs = [compose("score", [*common, *options, f"output={tmp_path / f'{count}.csv'}"]) for count in (1, 4)]
    (rows,) = together(1, partial(score, configs[0]))
    assert together(4, partial(score, configs[1])) == [rows, [], [], []]
    assert (tmp_path / "4.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_launcher_decides_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched(4) == Ranks()
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "3"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert launched() == launched(4) == Ranks(3, 4, 1)
    with pytest.raises(ValueError, match="Expected `devices` to be the 4 processes of WORLD_SIZE, got 2"):
        launched(2)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ValueError, match="Expected numbers in RANK, WORLD_SIZE and LOCAL_RANK"):
        launched()


def test_each_process_takes_a_cuda_device_of_its_own(monkeypatch: pytest.MonkeyPatch):
    assert choose_device("cpu", Ranks(1, 2, 1)) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices: list[str] = []

    def zeros(size: int, device: str) -> SimpleNamespace:
        devices.append(device)
        return SimpleNamespace(device=torch.device(device))

    monkeypatch.setattr(torch, "zeros", zeros)
    for local in (0, 1):
        choose_device(None, Ranks(local, 2, local))
    assert devices == ["cuda", "cuda:1"]
    with pytest.raises(ValueError, match="Expected at most 2 processes on this machine"):
        choose_device(None, Ranks(2, 3, 2))
    with pytest.raises(
        ValueError, match="Expected `device=cuda` with several processes, which take one each, got cuda:0"
    ):
        choose_device("cuda:0", Ranks(1, 2, 1))


def test_a_process_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LostProcessError, match="Process 1 of 2 has ended with code 1"), open_ranks(2, []):
        pass


# Each starts the command itself, several times.


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "fails.py").write_text(
        "import os\n\ncalls = []\n\ndef on_second(string):\n    calls.append(string)\n"
        "    if os.environ.get('RANK') == '1' and len(calls) > 1:\n"
        "        raise ArithmeticError('no number')\n    return 1.0\n"
    )
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "discrete_diffusion.evaluator", *overrides]


@pytest.mark.slow
def test_processes_of_the_command_and_of_torchrun_give_the_files_of_one(
    checkpoint: Checkpoint, tmp_path: Path, environment: dict[str, str]
):
    common = [f"checkpoint={checkpoint('table')}", *SMALL, "seeds=[1,2]", "repeats=2"]
    run = partial(subprocess.run, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    run(command(*common, "output=one"))
    printed = run(command(*common, "output=two", "devices=2")).stdout
    assert printed.count("2 processes") == 1
    run([*torchrun, *command(*common, "output=torchrun")[1:]])
    assert contents(tmp_path / "two") == contents(tmp_path / "torchrun") == contents(tmp_path / "one")


@pytest.mark.slow
def test_an_error_of_one_process_is_one_line_and_ends_all(
    checkpoint: Checkpoint, tmp_path: Path, environment: dict[str, str]
):
    search = ["guidance=best_of_n", "reward.function._target_=fails.on_second", "likelihood=false"]
    arguments = command(f"checkpoint={checkpoint('table')}", *SMALL, *search, "devices=2")
    ended = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("evaluator: The reward on_second failed on")


@pytest.mark.slow
def test_a_signal_stops_all_processes_and_the_evaluation_can_be_resumed(
    checkpoint: Checkpoint, tmp_path: Path, environment: dict[str, str]
):
    common = [f"checkpoint={checkpoint('table')}", *SMALL, "samples=600", "batch_size=30", "sampling.steps=30"]
    arguments = command(*common, "output=out", "devices=2")
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "out" / "results.csv").exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    others = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Resume with" in printed
    assert not any(Path(f"/proc/{other}").exists() for other in others)
    for output, devices in (("out", "2"), ("whole", "1")):
        resumed = command(*common, f"output={output}", f"devices={devices}")
        subprocess.run(resumed, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
