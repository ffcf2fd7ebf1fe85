"""A user's own folder: her Python file and both commands, without an edit of the repository."""

import csv
from pathlib import Path

import programs
import pytest

FILE = '''
from dataclasses import dataclass
from functools import partial

import datasets
import torch
from discrete_diffusion.datasets import character_tokenizer
from discrete_diffusion.guidance import DiffusionSampler, Run, State, evaluate
from discrete_diffusion.processes import Uniform


def rows(size: int = 300) -> datasets.Dataset:
    """A data set."""
    return datasets.Dataset.from_dict({"word": [f"{'ab' * (1 + i % 3)}{i % 7}" for i in range(size)]})


def tokenizer(strings):
    """Its tokenizer."""
    return character_tokenizer(strings)


class Network(torch.nn.Module):
    """A backbone: token ids, noise level and label to logits."""

    num_classes = None

    def __init__(self, vocab_size: int, length: int, num_classes: int | None = None, width: int = 16):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, width)
        self.body = torch.nn.Linear(width, width)
        self.head = torch.nn.Linear(width, vocab_size)

    def forward(self, xt, sigma, y=None, at=None):
        hidden = self.body(self.embedding(xt)) + sigma[:, None, None]
        return self.head(hidden if at is None else hidden[at])


@dataclass(frozen=True)
class Prefer:
    """A guidance method: log p + weight at one token, renormalized."""

    base: object
    token: int
    weight: float

    def __call__(self, xt, *times, y=None, at=None):
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        ids = torch.arange(log_probs.shape[-1], device=xt.device)
        return (log_probs + self.weight * (ids == self.token)).log_softmax(-1)


@dataclass(frozen=True)
class Constant(DiffusionSampler):
    """A sampler that writes one token."""

    process: Uniform
    token: int

    def run(self, model):
        return Run(partial(self.states, model.denoiser))

    def states(self, denoiser, xt, *, y=None, clamp=None, generator=None):
        yield State(1.0, xt)
        yield State(0.0, torch.full_like(xt, self.token))


def shortness(string: str) -> float:
    """A reward, and a metric."""
    return -float(len(string))
'''


def run(folder: Path, command: str, *arguments: str) -> str:
    done = programs.run("-m", f"discrete_diffusion.{command}", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return done.stdout


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Her folder, with a model of her data, tokenizer and backbone."""
    home = tmp_path_factory.mktemp("hers")
    (home / "mine.py").write_text(FILE)
    run(
        home,
        "trainer",
        "data=custom",
        "data.rows._target_=mine.rows",
        "data.column=word",
        "tokenizer._target_=mine.tokenizer",
        "backbone=custom",
        "backbone._target_=mine.Network",
        "optimizer=adamw",
        "steps=4",
        "validate_every=4",
        "batch_size=8",
    )
    return home


QUICK = ("samples=16", "seeds=[1]", "likelihood=false", "pictures.draw=false", "trust_remote_code=true")


@pytest.mark.slow
def test_her_data_tokenizer_and_backbone_make_a_model_that_is_sampled(folder: Path):
    run(folder, "evaluator", *QUICK, "guidance=none", "output=plain")
    assert [row["generated"] for row in results(folder / "plain")] == ["16"]


@pytest.mark.slow
def test_her_guidance_and_metric_are_used(folder: Path):
    """Guidance toward one token fills the sequences with it, and the metric reports their length."""
    run(
        folder,
        "evaluator",
        *QUICK,
        "output=guided",
        "guidance=none",
        "gammas=[0,40]",
        "+guidance.prefer.name=prefer",
        "+guidance.prefer.level=denoiser",
        "+guidance.prefer.method={_target_: mine.Prefer, _partial_: true, token: 5, weight: '${strength}'}",
        "metrics.property._target_=mine.shortness",
    )
    plain, guided = results(folder / "guided")
    assert int(guided["distinct"]) == 1
    assert plain["gamma"] == "0.0"
    assert guided["gamma"] == "40.0"


@pytest.mark.slow
def test_her_sampler_draws_the_samples(folder: Path):
    sampler = ["sampler=custom", "sampler._target_=mine.Constant", "+sampler.token=5"]
    run(folder, "evaluator", *QUICK, "guidance=none", "output=sampled", *sampler)
    (row,) = results(folder / "sampled")
    assert row["distinct"] == "1"


@pytest.mark.slow
def test_her_reward_leads_a_search(folder: Path):
    run(
        folder,
        "evaluator",
        *QUICK,
        "output=searched",
        "guidance=particles",
        "gammas=[3]",
        "guidance.particles.method.particles=4",
        "reward.function._target_=mine.shortness",
        "metrics.property._target_=mine.shortness",
    )
    assert len(results(folder / "searched")) >= 1
