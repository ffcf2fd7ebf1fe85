"""Generation of samples from a checkpoint, and its cost."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.evaluator.guidance import Cost, Guidance
from discrete_diffusion.evaluator.ranks import ALONE, Ranks
from discrete_diffusion.guidance import CountEvaluations, Denoiser, ParticleState, Sampler, SampleStreams, State


@dataclass(frozen=True)
class ParticleWeights:
    """Weights of the particles at one time, over all searches.

    Attributes:
        t: The time.
        ess_share: Mean effective sample size, as a share of the particles.
        resampled_share: Share of the searches whose particles were resampled.
    """

    t: float
    ess_share: float
    resampled_share: float


@dataclass(frozen=True)
class Generated:
    """Samples of one point of the sweep and one seed.

    Attributes:
        ids: Token ids of the samples, (samples, l), on the CPU.
        strings: Decoded samples.
        states: Trajectories of the first `keep_states_of` samples, on the CPU.
        cost: Network evaluations (forward passes of the generator, one for each row of a batch), forward passes of
            the classifiers, reward calls, and wall-clock seconds including decoding.
        weights: Weights of the particles at each step; empty without particles.
    """

    ids: Tensor
    strings: list[str]
    states: list[State]
    cost: Mapping[str, float]
    weights: list[ParticleWeights] = field(default_factory=list)

    def numbers(self) -> dict[str, float | None]:
        """Return the columns of results.csv for cost and particles: means over the steps that weigh or resample."""
        weighed, resampled = self.weights[1:], self.weights[1:-1]
        return {
            **self.cost,
            "mean_ess_share": fmean(step.ess_share for step in weighed) if weighed else None,
            "resampled_share": fmean(step.resampled_share for step in resampled) if resampled else None,
        }


@dataclass(frozen=True)
class _Batch:
    """Samples of one batch, and the sums over its searches of effective sample size and resamplings at each time."""

    ids: Tensor
    strings: list[str]
    sums: list[tuple[float, float, float]]


@dataclass(frozen=True)
class Generation:
    """Settings that all samples of an evaluation share; calling it draws samples.

    A sample depends on the seed and its index alone, up to rounding in the network: neither on `batch_size` nor on the
    device, and the first samples of a larger run are those of a smaller one. The rows of a search count toward
    `batch_size`.

    Several processes share the samples by whole batches, so that they evaluate the network on the batches of one
    process, and a search is never divided. Each of them has to make the same calls.

    Attributes:
        checkpoint: The generator.
        sampler: Its sampler.
        batch_size: Sequences in a forward pass.
        device: Device of the generator.
        clamp: Token that each position must hold, (1, l), -1 if it is free.
        allowed: Tokens that each position may hold, (l, v).
        keep_states_of: Number of samples whose trajectories are kept, on the first process.
        ranks: The processes that share the samples.
    """

    checkpoint: Checkpoint
    sampler: Sampler
    batch_size: int
    device: torch.device
    clamp: Int[Tensor, "1 l"] | None = None
    allowed: Bool[Tensor, "l v"] | None = None
    keep_states_of: int = 0
    ranks: Ranks = ALONE

    def check(self, guidance: Guidance) -> None:
        """Build everything for one sample without drawing it.

        Raises:
            ValueError: If a method is not defined for the model, or one of its numbers is out of range.
        """
        self.states(self.checkpoint.denoiser(), range(1), 0, None, guidance)

    def __call__(
        self,
        samples: int,
        seed: int,
        y: Int[Tensor, " samples"] | None,
        guidance: Guidance,
        advance: Callable[[float], None] = lambda rows: None,
    ) -> Generated:
        """Draw sequences.

        Args:
            samples: Number of sequences.
            seed: Seed of all random numbers.
            y: Class of each sequence.
            guidance: Guidance of the model.
            advance: Called after each step with its share of the sequences in the batch.
        """
        network = CountEvaluations(self.checkpoint.network)
        denoiser = self.checkpoint.denoiser(network)
        particles = 1 if guidance.search is None else guidance.search.rows(1)
        own: list[tuple[int, _Batch]] = []
        kept: list[State] = []
        guidance.reset()
        started = time.perf_counter()
        share = self.ranks.share(range(0, samples, self.rows(guidance)))
        share_of_samples = sum(min(self.rows(guidance), samples - start) for _, start in share) / samples
        for number, start in share:
            rows = min(self.rows(guidance), samples - start)
            sums = []
            labels = None if y is None else y[start : start + rows]
            t = 1.0
            for state in self.states(denoiser, range(start, start + rows), seed, labels, guidance):
                if start == 0 and self.keep_states_of:
                    kept.append(State(state.t, state.x[: self.keep_states_of].cpu()))
                if isinstance(state, ParticleState):
                    sums.append((state.t, state.ess.sum().item(), state.resampled.sum().item()))
                advance(rows * (t - state.t) / share_of_samples)
                t = state.t
            ids = state.x.cpu()
            own.append((number, _Batch(ids, decode(self.checkpoint.tokenizer, ids), sums)))
        batches = self.ranks.collect(own)
        evaluations = sum(self.ranks.gather(network.rows))
        cost = sum(self.ranks.gather(guidance.cost()), Cost())
        seconds = round(time.perf_counter() - started, 3)
        totals: dict[float, tuple[float, float]] = {}
        for batch in batches:
            for t, ess, resampled in batch.sums:
                before = totals.get(t, (0.0, 0.0))
                totals[t] = before[0] + ess, before[1] + resampled
        return Generated(
            torch.cat([batch.ids for batch in batches]),
            [string for batch in batches for string in batch.strings],
            kept,
            {"network_evaluations": evaluations, **cost.columns(), "seconds": seconds},
            [ParticleWeights(t, ess / samples / particles, often / samples) for t, (ess, often) in totals.items()],
        )

    def rows(self, guidance: Guidance) -> int:
        """Return the number of samples in a batch."""
        return max(1, self.batch_size // (1 if guidance.search is None else guidance.search.rows(1)))

    def states(
        self,
        denoiser: Denoiser,
        indices: Sequence[int],
        seed: int,
        y: Int[Tensor, " samples"] | None,
        guidance: Guidance,
    ) -> Iterator[State]:
        """Yield every state of the samples with these indices, drawn in one batch.

        Args:
            denoiser: Denoiser of the checkpoint.
            indices: Indices of the samples.
            seed: Seed of all samples.
            y: Class of each sample.
            guidance: Guidance of the model.
        """
        rows = len(indices)
        return self.sampler(
            denoiser,
            (rows, self.checkpoint.length),
            y=None if y is None else y.to(self.device),
            **guidance.sampler_arguments(),
            allowed=self.allowed,
            clamp=None if self.clamp is None else self.clamp.expand(rows, -1).to(self.device),
            generator=SampleStreams(seed, torch.tensor(indices)),
            device=self.device,
        )
