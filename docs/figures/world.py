"""Small world whose distributions are known exactly, for the pictures of the guidance methods.

A sequence is two tokens of sixteen ordered symbols, so that a distribution over sequences is a picture of 16 x 16
cells. The data are a ring of eight islands; class 1 lies to the upper right and class 0 elsewhere, with a soft border.
Everything that a model would learn is a sum over the 256 sequences, and so is the distribution of the samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from discrete_diffusion.guidance import Model
from discrete_diffusion.processes import Absorbing, Ancestral, Process, Uniform
from discrete_diffusion.schedules import LogLinear

SIZE = 16  # symbols; the mask of absorbing noise is the next token
NULL = 2  # "no label", after classes 0 and 1
RADIUS = 2.0  # of an island, as it is drawn and counted
ABSORBING = Absorbing(LogLinear(), SIZE + 1, mask_id=SIZE)
UNIFORM = Uniform(LogLinear(), SIZE)


def centers() -> Tensor:
    """The middles of the eight islands, (8, 2)."""
    angles = torch.arange(8, dtype=torch.float64) * torch.pi / 4
    return 7.5 + 5.5 * torch.stack([angles.cos(), angles.sin()], -1)


def distances() -> Tensor:
    """From each cell to each island, (16, 16, 8)."""
    axis = torch.arange(SIZE, dtype=torch.float64)
    return torch.cdist(torch.cartesian_prod(axis, axis), centers()).view(SIZE, SIZE, 8)


@cache
def ring() -> Tensor:
    """p(x_0) (16, 16): the islands, each as likely as the next."""
    islands = (-0.5 * (distances() / 0.65).square()).exp()
    return (islands / islands.sum((0, 1))).mean(-1)


@cache
def classes() -> Tensor:
    """p(y | x_0) (16, 16, 2): a logistic function of how far a cell lies to the upper right."""
    axis = torch.arange(SIZE, dtype=torch.float64) - 7.5
    distance = (axis[:, None] + axis) / 2**0.5
    logit = 0.8 * (distance - 3)
    return torch.stack([(-logit).sigmoid(), logit.sigmoid()], -1)


@dataclass(frozen=True)
class World:
    """The exact model of the ring under `process`: `UNIFORM` or `ABSORBING`, or one of another schedule.

    Tokens are (b, 2), the first the column and the second the row of the picture; everything is float64.
    """

    process: Process

    def weights(self, x: Tensor, t: Tensor) -> Tensor:
        """p(x_0, x_t) of every x_0, (b, 16, 16), times a constant; `x` are tokens (b, 2) or one-hots (b, 2, v)."""
        noise = self.process.log_noise(torch.zeros((), dtype=torch.float64)).exp()
        alpha = self.process.schedule.alpha(t.double())[:, None, None]
        corruption = alpha * torch.eye(SIZE, len(noise), dtype=torch.float64) + (1 - alpha) * noise  # rows x_0
        onehot = torch.nn.functional.one_hot(x, len(noise)).double() if x.ndim == 2 else x.double()
        evidence = corruption @ onehot.mT
        return ring() * evidence[:, :, :1] * evidence[:, :, 1:].mT

    def denoiser(self, xt: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """log p(x_0^l | x_t without position l, y), for labels 0, 1 and `NULL`: (b, 2, v), or (n, v) of `at`."""
        noise = self.process.log_noise(torch.zeros((), dtype=torch.float64)).exp()
        onehot = torch.nn.functional.one_hot(xt, len(noise)).double()
        likelihood = torch.cat([classes(), torch.ones(SIZE, SIZE, 1, dtype=torch.float64)], -1)
        likelihood = likelihood.movedim(-1, 0)[torch.full((len(xt),), NULL) if y is None else y]
        columns = []
        for position in range(2):
            # All tokens at once say nothing: the position is summed out.
            others = onehot.index_fill(1, torch.tensor([position]), 1.0)
            columns.append((self.weights(others, t) * likelihood).sum(2 - position))
        logits = torch.nn.functional.pad(torch.stack(columns, 1), (0, len(noise) - SIZE)).log()
        log_x0 = self.process.log_x0(logits, xt)
        return log_x0 if at is None else log_x0[at]

    def classifier(self, x: Tensor, t: Tensor) -> Tensor:
        """log p(y | x_t) (b, 2); `x` are tokens (b, 2) or, differentiable, one-hots (b, 2, v)."""
        weights = self.weights(x, t)
        return torch.einsum("bij,ijy->by", weights, classes()).log() - weights.sum((1, 2)).log()[:, None]

    def likelihood(self, x: Tensor, t: Tensor) -> Tensor:
        """log p(y = 1 | x_t) (b,), the target of guidance."""
        return self.classifier(x, t)[:, 1]

    @property
    def kernel(self) -> Ancestral:
        """log p(x_s | x_t, y)."""
        return Ancestral(self.process, self.denoiser)

    def distribution(self, kernel: Model, times: Tensor, *, y: int | None = None) -> Tensor:
        """Distribution of x_0 (16, 16) under ancestral sampling: every step is one matrix over all sequences."""
        *_, distribution = self.distributions(kernel, times, y=y)
        return distribution[:SIZE, :SIZE]

    def distributions(self, kernel: Model, times: Tensor, *, y: int | None = None) -> Iterator[Tensor]:
        """The distribution (v, v) at each of `times`, from noise to data."""
        v = self.process.vocab_size
        x = torch.cartesian_prod(torch.arange(v), torch.arange(v))
        label = {} if y is None else {"y": torch.full((len(x),), y)}
        noise = self.process.log_noise(torch.zeros((), dtype=torch.float64)).exp()
        distribution = torch.outer(noise, noise)
        yield distribution
        for t, s in pairwise(times.double()):
            reached = distribution.flatten() > 0
            some = {name: value[reached] for name, value in label.items()}
            step = kernel(x[reached], t.expand(int(reached.sum())), s.expand(int(reached.sum())), **some).exp()
            distribution = torch.einsum("n,ni,nj->ij", distribution.flatten()[reached], step[:, 0], step[:, 1])
            yield distribution


@dataclass(frozen=True)
class LeftToRight:
    """The exact model of the ring from left to right, log p(x_i | x_{<i}, y), in a denoiser's signature."""

    left_to_right: ClassVar[bool] = True

    def __call__(self, x: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """(b, 2, 16), or (n, 16) of `at`."""
        likelihood = torch.cat([classes(), torch.ones(SIZE, SIZE, 1, dtype=torch.float64)], -1)
        joint = ring()[..., None] * likelihood
        label = torch.full((len(x),), NULL) if y is None else y
        columns = torch.stack([joint.sum(1)[:, label].T, joint[x[:, 0], :, label]], 1)
        log_probs = (columns / columns.sum(-1, keepdim=True)).log()
        return log_probs if at is None else log_probs[at]

    @staticmethod
    def likelihood(prefix: Tensor, t: Tensor) -> Tensor:
        """log p(y = 1 | x_0, ..., x_i) (n,) of prefixes (n, i + 1)."""
        joint = ring()[..., None] * classes()
        joint = joint.sum(1)[prefix[:, 0]] if prefix.shape[1] == 1 else joint[prefix[:, 0], prefix[:, 1]]
        return (joint[:, 1] / joint.sum(-1)).log()

    @staticmethod
    def distribution(model: Model) -> Tensor:
        """The distribution (16, 16) of left-to-right sampling from `model`."""
        x = torch.arange(SIZE)[:, None].repeat(1, 2)
        first, second = model(x, torch.ones(SIZE, dtype=torch.float64)).exp().unbind(1)
        return first[0][:, None] * second


def target(gamma: float) -> Tensor:
    """p(x_0) p(y = 1 | x_0)^gamma / Z, (16, 16): what guidance of this strength aims at; gamma = 1 is p(x_0 | y)."""
    distribution = ring() * classes()[..., 1] ** gamma
    return distribution / distribution.sum()


def reward(x0: Tensor) -> Tensor:
    """r(x_0) = log p(y = 1 | x_0) of clean tokens (n, 2), so that p(x_0) exp(gamma r(x_0)) is `target(gamma)`."""
    return classes()[x0[:, 0], x0[:, 1], 1].log()


def empirical(x0: Tensor) -> Tensor:
    """The distribution (16, 16) of samples (n, 2)."""
    return (x0[:, 0] * SIZE + x0[:, 1]).bincount(minlength=SIZE**2).view(SIZE, SIZE).double() / len(x0)


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of |p - q|, in [0, 1]."""
    return float((p - q).abs().sum() / 2)


def on_islands(distribution: Tensor) -> float:
    """The probability of the islands: share of a distribution that looks like data."""
    return float(distribution[(distances() < RADIUS).any(-1)].sum())


def in_class(distribution: Tensor) -> float:
    """E[p(y = 1 | x_0)]: share of a distribution in the target class."""
    return float((distribution * classes()[..., 1]).sum())


def fit(loss: Callable[[Tensor, torch.Generator], Tensor], network: torch.nn.Module, steps: int) -> None:
    """Train `network` by Adam on `loss(x0 (512, 2), generator)`, drawing x0 from the ring; a step is milliseconds."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for _ in range(steps):
        cells = torch.multinomial(ring().flatten(), 512, replacement=True, generator=generator)
        optimizer.zero_grad()
        loss(torch.stack([cells // SIZE, cells % SIZE], -1), generator).mean().backward()
        optimizer.step()
        decay.step()
    network.eval()
