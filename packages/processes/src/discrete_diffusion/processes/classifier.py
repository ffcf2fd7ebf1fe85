"""Classifiers and regressors of corrupted sequences."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from discrete_diffusion.processes.candidate_cache import CandidateCache
from discrete_diffusion.processes.process import Process


@dataclass(frozen=True)
class Classifier:
    """Classifier log p(y | x_t) for every class, conditioned on sigma(t) like the denoiser (arXiv 2412.10193, D-CBG).

    The network determines the form of x_t: token ids (b, l), one-hot encodings (b, l, v) or hidden states (b, l, d).

    Without a process, a causal `PrefixNetwork` scores candidates for the last token of growing prefixes without
    rereading the prefixes, whose pasts are cached. It does so without gradients and outside training, and the results
    are those of whole rows, up to rounding.

    Args:
        process: Process of the generator; None means sigma = 0, for classifiers of clean data and of prefixes.
        network: `(x, sigma)` -> logits (b, classes).
    """

    process: Process | None
    network: Callable[[Tensor, Tensor], Tensor]
    _cache: CandidateCache = field(default_factory=CandidateCache, init=False, repr=False, compare=False)

    def __call__(self, x: Shaped[Tensor, "b l *d"], t: Float[Tensor, " b"]) -> Float[Tensor, "b classes"]:
        """Return log p(y | x_t), normalized over the classes."""
        return _outputs(self.process, self.network, self._cache, x, t).log_softmax(-1)


@dataclass(frozen=True)
class Regressor:
    """Gaussian prediction of a property of x_0 given x_t: mean and log standard deviation for each sequence.

    It caches prefixes as `Classifier` does.

    Args:
        process: Process of the generator; None means sigma = 0.
        network: `(x, sigma)` -> (b, 2).
    """

    process: Process | None
    network: Callable[[Tensor, Tensor], Tensor]
    _cache: CandidateCache = field(default_factory=CandidateCache, init=False, repr=False, compare=False)

    def __call__(self, x: Shaped[Tensor, "b l *d"], t: Float[Tensor, " b"]) -> Float[Tensor, "b 2"]:
        """Return the mean and the log standard deviation."""
        return _outputs(self.process, self.network, self._cache, x, t)


def _outputs(
    process: Process | None, network: Callable[[Tensor, Tensor], Tensor], cache: CandidateCache, x: Tensor, t: Tensor
) -> Tensor:
    if process is not None:
        return network(x, process.schedule.sigma(t))
    scores = cache.scores(network, x, t)
    return network(x, torch.zeros_like(t)) if scores is None else scores
