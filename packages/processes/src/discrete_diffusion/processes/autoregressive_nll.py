"""The exact likelihood of an autoregressive model."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.objective import Terms
from discrete_diffusion.processes.process import pick
from discrete_diffusion.processes.types import LogDenoiser, given


@dataclass(frozen=True)
class AutoregressiveNLL:
    """-log p(x) = sum over l of -log p(x^l | x^1 ... x^(l-1)), with `NextToken` as the denoiser. Nothing is random."""

    def loss(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """The exact negative log-likelihood, in nats per token."""
        t = torch.zeros(len(x0), device=x0.device)
        return -pick(denoiser(x0, t, **given(y=y)), x0)

    def terms(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """The likelihood under the name of the diffusion term; prior and reconstruction are zero."""
        nll = self.loss(denoiser, x0, y)
        return Terms(prior=torch.zeros_like(nll), diffusion=nll, reconstruction=torch.zeros_like(nll))
