"""Masked diffusion."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.fused import sequences_at_once
from discrete_diffusion.processes.process import Process, log1mexp, pick
from discrete_diffusion.processes.protocols import Condition, Denoiser, given
from discrete_diffusion.processes.token_sums import log_probs_of
from discrete_diffusion.schedules import Schedule


@dataclass(frozen=True)
class Absorbing(Process):
    """Masked diffusion (MDLM, arXiv 2406.07524): pi is one at `mask_id` and zero elsewhere.

    The denoiser uses the SUBS parameterization: the mask has probability zero, and unmasked tokens are carried over.

    Args:
        schedule: Noise schedule.
        vocab_size: Number of tokens, the mask included.
        mask_id: Token id of the mask.

    Raises:
        ValueError: If `mask_id` is not in [0, `vocab_size`).
    """

    schedule: Schedule
    vocab_size: int
    mask_id: int
    losses_take_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.mask_id < self.vocab_size:
            raise ValueError(f"Expected 0 <= `mask_id` < `vocab_size` = {self.vocab_size}, got {self.mask_id}.")

    def log_noise(self, like: Float[Tensor, "..."]) -> Float[Tensor, " v"]:
        """Return log pi: zero at the mask, -inf elsewhere."""
        return F.one_hot(torch.tensor(self.mask_id, device=like.device), self.vocab_size).to(like.dtype).log()

    def prior(self, shape: tuple[int, ...], *, generator: Generator | None = None) -> Int[Tensor, "..."]:
        """Return all masks, on the generator's device."""
        return torch.full(shape, self.mask_id, device=None if generator is None else generator.device)

    def log_x0(self, logits: Float[Tensor, "*p v"], xt: Int[Tensor, "*p"]) -> Float[Tensor, "*p v"]:
        """Apply SUBS (MDLM, section 3.2.3): exclude the mask and carry over visible tokens."""
        visible = xt != self.mask_id
        hidden = visible[..., None] | (torch.arange(self.vocab_size, device=logits.device) == self.mask_id)
        carried = torch.where(visible, 0.0, -torch.inf)[..., None].to(logits.dtype)
        return logits.masked_fill(hidden, -torch.inf).scatter_(-1, xt[..., None], carried).log_softmax(-1)

    def log_posterior(
        self, log_x0: Float[Tensor, "b l v"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], s: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t): a mask stays with probability (1 - alpha_s) / (1 - alpha_t) (MDLM, eq. 7)."""
        log_lost_t = log1mexp(-self.schedule.sigma(t))
        sigma_s = self.sigma_or_data(s)
        log_stay = log1mexp(-sigma_s) - log_lost_t
        # alpha_s - alpha_t = alpha_s (1 - alpha_t / alpha_s), which is accurate for short steps
        log_reveal = log1mexp(sigma_s - self.schedule.sigma(t)) - sigma_s - log_lost_t
        masked = xt == self.mask_id
        kernel = log_x0 + torch.where(masked, log_reveal[:, None], -torch.inf)[..., None]
        # The token x_t itself: a mask stays, and a visible token is carried over.
        unchanged = torch.where(masked, log_stay[:, None], 0.0)[..., None].to(kernel.dtype)
        return kernel.scatter_(-1, xt[..., None], unchanged)

    def unknown(self, xt: Int[Tensor, "b l"]) -> Bool[Tensor, "b l"]:
        """Return the masks."""
        return xt == self.mask_id

    def cross_entropy(
        self, log_x0: Float[Tensor, "b l v"], x0: Int[Tensor, "b l"], xt: Int[Tensor, "b l"]
    ) -> Float[Tensor, "b l"]:
        """Return -log p(x_0 | x_t) in nats per token: zero at visible tokens, where `log_x0` is not read.

        `log_x0` may be unnormalized, as in `diffusion_loss`.
        """
        masked = self.unknown(xt)
        rows = masked.flatten().nonzero()[:, 0]
        log_probs = log_probs_of(
            log_x0.flatten(0, 1),
            x0[masked][:, None],
            rows=None if len(rows) == xt.numel() else rows,
            excluded=self.mask_id,
        )
        return log_probs.new_zeros(xt.shape).masked_scatter(masked, -log_probs)

    def diffusion_loss(
        self, log_x0: Float[Tensor, "b l v"], x0: Int[Tensor, "b l"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l"]:
        """Return -alpha' / (1 - alpha) times -log p(x_0) at the masks, in nats per token and time (MDLM, eq. 10).

        `log_x0` may be unnormalized, such as the logits of a network; it is read at the masks only.
        """
        weight = self.schedule.alpha_prime(t) / -torch.expm1(-self.schedule.sigma(t))
        return torch.where(xt == self.mask_id, -weight[:, None] * self.cross_entropy(log_x0, x0, xt), 0.0)

    def step_loss(
        self,
        log_x0: Float[Tensor, "b l v"],
        x0: Int[Tensor, "b l"],
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
    ) -> Float[Tensor, "b l"]:
        """Return (alpha_s - alpha_t) / (1 - alpha_t) times -log p(x_0) at the masks, in nats (MDLM, eq. 8).

        `log_x0` may be unnormalized, such as the logits of a network; it is read at the masks only.
        """
        sigma_t, sigma_s = self.schedule.sigma(t), self.sigma_or_data(s)
        weight = (-sigma_s).exp() * torch.expm1(sigma_s - sigma_t) / -torch.expm1(-sigma_t)
        return torch.where(xt == self.mask_id, -weight[:, None] * self.cross_entropy(log_x0, x0, xt), 0.0)

    def prior_loss(
        self, denoiser: Denoiser, x0: Int[Tensor, "b l"], y: Condition | None = None
    ) -> Float[Tensor, "b l"]:
        """Return the cost of alpha(1) > 0: alpha(1) times -log p(x_0 | all masks), in nats per token.

        KL(q(x_1 | x_0) || pi) itself is infinite, because pi cannot produce the few tokens that survive to t = 1. In
        the model of this bound, sampling therefore starts from all masks and reveals each position with probability
        alpha(1), with the denoiser's prediction, before the reverse process starts at t = 1. Takes one denoiser pass,
        in parts of the batch if the vocabulary is large.
        """
        t = torch.ones(len(x0), device=x0.device)
        size = sequences_at_once(x0.shape[1], self.vocab_size)
        losses = []
        for rows in (slice(start, start + size) for start in range(0, max(1, len(x0)), size)):
            masks = torch.full_like(x0[rows], self.mask_id)
            log_x0 = denoiser(masks, t[rows], **given(y=None if y is None else y[rows]))
            losses.append(-self.schedule.alpha(t[rows])[:, None] * pick(log_x0, x0[rows]))
        return torch.cat(losses)
