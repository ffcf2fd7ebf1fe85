"""Rates of the reverse jump process."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, given


@dataclass(frozen=True)
class ReverseRates:
    """Logarithm of the rates of the reverse jump process, for every position and token (arXiv 2211.14750, eq. 6).

    With m the distribution of x_t at a position given the rest, and pi the noise,

        rate(x_t -> v) = beta_t pi(x_t) m(v) / m(x_t),    beta_t = -alpha'_t / alpha_t,

    for v other than the current token, whose entry is -inf. For masks, the rate is -alpha'_t / (1 - alpha_t) p(v) at a
    masked position and zero at a revealed one.

    Args:
        process: Any forward process.
        denoiser: Log-probabilities of the clean tokens, in the process's parameterization.
    """

    process: Process
    denoiser: Denoiser

    def __call__(
        self, xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], *, y: Condition | None = None
    ) -> Float[Tensor, "b l v"]:
        """Return the log-rates at time t > 0, per unit of time."""
        log_x0 = self.process.leave_one_out(self.denoiser(xt, t, **given(y=y)), xt, t)
        log_m = self.process.log_noised(log_x0, t)
        schedule = self.process.schedule
        log_beta = (-schedule.alpha_prime(t)).log() + schedule.sigma(t)
        present = log_m.gather(-1, xt[..., None])
        # Revealed tokens of masked diffusion never change, because pi is zero there.
        log_noise = self.process.log_noise(log_x0)[xt][..., None]
        log_rates = log_beta[:, None, None] + log_noise + log_m - present
        stays = torch.arange(self.process.vocab_size, device=xt.device) == xt[..., None]
        return log_rates.masked_fill(stays | (log_noise == -torch.inf), -torch.inf)
