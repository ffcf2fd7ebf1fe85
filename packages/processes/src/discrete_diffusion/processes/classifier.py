"""Classifiers and regressors of what a process has corrupted, in the shape of log p(y | x_t)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from discrete_diffusion.processes.process import Process


@dataclass(frozen=True)
class Classifier:
    """log p(y | x_t) of every class: the network is fed sigma(t), as the denoiser's is (arXiv 2412.10193, D-CBG).

    What stands for x_t is the network's affair: token ids (b, l), one-hots (b, l, v), or hidden states (b, l, d).

    Args:
        process: the generator's own; None feeds sigma = 0, for classifiers of clean data and of prefixes.
        network: `(x, sigma)` -> logits (b, classes).
    """

    process: Process | None
    network: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Shaped[Tensor, "b l *d"], t: Float[Tensor, " b"]) -> Float[Tensor, "b classes"]:
        """Return log p(y | x_t), normalized over the classes."""
        return self.network(x, _sigma(self.process, t)).log_softmax(-1)


@dataclass(frozen=True)
class Regressor:
    """Mean and log standard deviation of a property of x_0, given x_t: a Gaussian for each sequence.

    Args:
        process: the generator's own; None feeds sigma = 0.
        network: `(x, sigma)` -> (b, 2).
    """

    process: Process | None
    network: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Shaped[Tensor, "b l *d"], t: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
        """Return mean and log standard deviation."""
        return self.network(x, _sigma(self.process, t))


def _sigma(process: Process | None, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    return torch.zeros_like(t) if process is None else process.schedule.sigma(t)
