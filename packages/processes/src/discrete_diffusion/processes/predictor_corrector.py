"""Reverse kernels that add fresh noise to the prediction."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, given


@dataclass(frozen=True)
class PredictorCorrector:
    """Mixture of the ancestral step and fresh noise on the prediction (Psi samplers, arXiv 2602.21185).

    With psi in [0, 1],

        q_psi(x_s | x_t, x_0) = psi q(x_s | x_t, x_0) + (1 - psi) q(x_s | x_0),

    averaged over the model's x_0. Both terms have the marginal q(x_s | x_0), and so does every mixture. psi = 1 is
    `Ancestral`. With psi = 0, x_s depends on x_t only through the prediction, which gives the strongest correction.

    The two terms use different predictions: the posterior uses the leave-one-out prediction, in the closed form of
    `Process.log_posterior`; the fresh noise uses p(x_0 | x_t) itself.

    Args:
        process: Any forward process.
        denoiser: Log-probabilities of the clean tokens, in the process's parameterization.
        psi: Weight of the ancestral step, in [0, 1].

    Raises:
        ValueError: If `psi` is not in [0, 1].
    """

    process: Process
    denoiser: Denoiser
    psi: float | int

    def __post_init__(self) -> None:
        if not 0 <= self.psi <= 1:
            raise ValueError(f"Expected 0 <= `psi` <= 1, got {self.psi}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y) of the step from t to s."""
        log_x0 = self.denoiser(xt, t, **given(y=y))
        ancestral = self.process.log_posterior(log_x0, xt, t, s)
        if self.psi == 1:
            return ancestral
        fresh = self.process.log_noised(self.process.mean(log_x0, xt, t), s)
        if self.psi == 0:
            return fresh
        return torch.logaddexp(ancestral + math.log(self.psi), fresh + math.log1p(-self.psi))
