"""Optimizers of molecules under a budget of oracle calls.

An optimizer works in rounds. A round depends on the molecules that were evaluated before it, the seed and its number
alone, so that a run that was stopped goes on after its last whole round.
"""

import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.checkpoints.scoring import encode_readable
from discrete_diffusion.eval import CountedOracle
from discrete_diffusion.guidance import SVDD, AncestralSampler, GuidedModel, Particles, Reward, Search, last, trajectory
from discrete_diffusion.processes import Process


class Optimizer(Protocol):
    """Method that looks for molecules with a high score.

    Attributes:
        needs_diffusion: Whether the model has to be a diffusion model.
    """

    needs_diffusion: ClassVar[bool]

    def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
        """Evaluate the molecules of one round.

        Args:
            model: Generator of SMILES.
            oracle: Oracle with the scores of the earlier rounds.
            seed: Seed of the run.
            number: Number of the round, from 0.

        Raises:
            OracleBudgetError: If the budget ends within the round.
        """
        ...


@dataclass(frozen=True)
class BestOfN:
    """Plain sampling: molecules of the model, without feedback.

    Args:
        samples: Samples in a round.
    """

    samples: int = 64
    needs_diffusion: ClassVar[bool] = False

    def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
        """Evaluate samples; see `Optimizer`."""
        _evaluate(oracle, model.decode(model.sample(self.samples, seed=seed, first=number * self.samples)))


@dataclass(frozen=True)
class Remask:
    """Mutation of the best molecules by partial noise: x_t ~ q(x_t | x_0), then samples of p(x_0 | x_t).

    A round draws parents among the best molecules, one time t of the sampler's grid for all of them, noises them to t
    by the forward process, and denoises them by the model's own sampler.

    Args:
        parents: Number of best molecules that parents are drawn from.
        samples: Samples in a round.
        least: Smallest time t.
        most: Largest time t.
        start: Molecules that the first ones are drawn from; without any, the model samples the first ones.
    """

    parents: int = 20
    samples: int = 32
    least: float = 0.1
    most: float = 0.6
    start: Sequence[str] = ()
    needs_diffusion: ClassVar[bool] = True

    def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
        """Evaluate variants of the best molecules; see `Optimizer`."""
        if _begins(model, oracle, seed, number, self.start):
            return
        source = _generator(seed, number)
        x0 = self._parents(model, oracle)
        if not len(x0):
            _evaluate(oracle, model.decode(model.sample(self.samples, generator=source)))
            return
        sampler, process = model.sampler(), model.process
        assert isinstance(sampler, AncestralSampler)
        assert isinstance(process, Process)
        run = sampler.run(GuidedModel(model.denoiser()))
        assert run.kernel is not None
        assert run.times is not None
        times = run.times[run.times <= self._time(source)]
        drawn = x0[torch.randint(len(x0), (self.samples,), generator=source)]
        device = next(model.network.parameters()).device
        xt = process.corrupt(drawn, times[0].expand(self.samples), generator=source).to(device)
        _evaluate(oracle, model.decode(last(trajectory(run.kernel, xt, times, generator=source))))

    def _parents(self, model: Checkpoint, oracle: CountedOracle) -> Int[Tensor, "n l"]:
        """Return the tokens of the best molecules whose canonical SMILES the model can read."""
        ids, _, _ = encode_readable(model, _best(oracle, self.parents))
        return ids

    def _time(self, source: torch.Generator) -> float:
        return self.least + (self.most - self.least) * float(torch.rand((), generator=source))


@dataclass(frozen=True)
class GuidedSearch:
    """Samples of a search with the score as its reward; the predicted molecules within the search are oracle calls.

    Args:
        search: Function from the reward to the search.
        samples: Searches in a round.
    """

    search: Callable[[Reward], Search]
    samples: int
    needs_diffusion: ClassVar[bool] = True

    def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
        """Run searches; see `Optimizer`."""

        def reward(x0: Int[Tensor, "n l"]) -> Float[Tensor, " n"]:
            return torch.tensor([oracle(string) for string in model.decode(x0)], dtype=torch.float64)

        model.sample(self.samples, search=self.search(reward), seed=seed, first=number * self.samples)


@dataclass(frozen=True)
class Genetic:
    """Genetic algorithm on molecular graphs: Mol GA (Tripp and Hernández-Lobato, arXiv 2310.09267).

    The package `mol_ga` draws parents from the best quantiles and applies the crossover and the mutations of Graph GA
    (Jensen, Chemical Science 10, 3567, 2019). It uses the model for the first molecules alone.

    Args:
        population: Number of best molecules that parents are drawn from.
        offspring: Molecules in a round.
        start: Molecules that the first ones are drawn from; without any, the model samples the first ones.
    """

    population: int = 10_000
    offspring: int = 20
    start: Sequence[str] = ()
    needs_diffusion: ClassVar[bool] = False

    def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
        """Evaluate the offspring of a generation; see `Optimizer`."""
        if _begins(model, oracle, seed, number, self.start):
            return
        from mol_ga.graph_ga.gen_candidates import graph_ga_blended_generation
        from mol_ga.sample_population import uniform_quantile_sampling

        source = _source(seed, number)
        population = [(oracle.values[one], one) for one in _best(oracle, self.population)]
        parents = uniform_quantile_sampling(population, 2 * self.offspring, source)
        # A set of strings has another order in every process.
        _evaluate(oracle, sorted(graph_ga_blended_generation(parents, self.offspring, source)))


OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        "best_of_n": BestOfN(),
        "remask": Remask(),
        "particles": GuidedSearch(partial(Particles, gamma=30.0, particles=16), samples=1),
        "svdd": GuidedSearch(partial(SVDD, gamma=math.inf, candidates=8), samples=1),
        "genetic": Genetic(),
    }
)
"""Optimizers by their names in the configuration."""


def with_start(optimizer: Optimizer, start: Sequence[str]) -> Optimizer:
    """Return the optimizer with first molecules from `start`, if it has any use for them."""
    return replace(optimizer, start=start) if isinstance(optimizer, Remask | Genetic) else optimizer


def has_mol_ga() -> bool:
    """Return whether the package of `Genetic` is installed."""
    return find_spec("mol_ga") is not None


def _begins(model: Checkpoint, oracle: CountedOracle, seed: int, number: int, start: Sequence[str]) -> bool:
    """Evaluate the first molecules, a tenth of the budget and at most 1,000; return whether this round did.

    Molecules of `start` are all drawn in the first round.
    """
    missing = min(1_000, max(10, oracle.budget // 10)) - oracle.calls
    if start:
        if number == 0:
            _evaluate(oracle, _source(seed, number).sample(start, min(missing, len(start))))
        return number == 0
    if missing > 0:
        _evaluate(oracle, model.decode(model.sample(min(missing, 256), generator=_generator(seed, number))))
    return missing > 0


def _evaluate(oracle: CountedOracle, strings: Sequence[str]) -> None:
    for string in strings:
        oracle(string)


def _best(oracle: CountedOracle, count: int) -> list[str]:
    """Return the molecules with the highest scores, the earlier one first among equals."""
    return heapq.nlargest(count, oracle.values, key=oracle.values.__getitem__)


def _source(seed: int, number: int) -> random.Random:
    return random.Random(f"{seed} {number}")


def _generator(seed: int, number: int) -> torch.Generator:
    # PyTorch's generator on the CPU reads 32 bits of its seed.
    return torch.Generator().manual_seed(_source(seed, number).getrandbits(32))
