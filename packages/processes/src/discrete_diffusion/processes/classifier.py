"""Classifiers and regressors of corrupted sequences."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from discrete_diffusion.processes.process import Process


@dataclass(frozen=True)
class Classifier:
    """Classifier log p(y | x_t) for every class, conditioned on sigma(t) like the denoiser (arXiv 2412.10193, D-CBG).

    The network determines the form of x_t: token ids (b, l), one-hot encodings (b, l, v) or hidden states (b, l, d).

    Args:
        process: Process of the generator; None means sigma = 0, for classifiers of clean data and of prefixes.
        network: `(x, sigma)` -> logits (b, classes).
    """

    process: Process | None
    network: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Shaped[Tensor, "b l *d"], t: Float[Tensor, " b"]) -> Float[Tensor, "b classes"]:
        """Return log p(y | x_t), normalized over the classes."""
        return self.network(x, _sigma(self.process, t)).log_softmax(-1)


@dataclass(frozen=True)
class Regressor:
    """Gaussian prediction of a property of x_0 given x_t: mean and log standard deviation for each sequence.

    Args:
        process: Process of the generator; None means sigma = 0.
        network: `(x, sigma)` -> (b, 2).
    """

    process: Process | None
    network: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Shaped[Tensor, "b l *d"], t: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
        """Return the mean and the log standard deviation."""
        return self.network(x, _sigma(self.process, t))


def _sigma(process: Process | None, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    return torch.zeros_like(t) if process is None else process.schedule.sigma(t)
