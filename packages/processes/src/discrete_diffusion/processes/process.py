"""Base class of corruption processes, with the shared mathematics."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.protocols import Condition, Denoiser
from discrete_diffusion.processes.token_sums import log_probs_and_noised, log_probs_of
from discrete_diffusion.schedules import Schedule, draw_rows


class Process(ABC):
    """Process that replaces each token independently by a draw from a noise distribution pi.

        q(x_t | x_0) = Cat(alpha_t x_0 + (1 - alpha_t) pi)            (D3PM, arXiv 2107.03006; MDLM, 2406.07524)

    A subclass defines pi and how to draw from it. Posterior and likelihood bound follow for every pi without zeros; a
    subclass whose pi has zeros overrides them.

    In the methods, `log_x0` is a normalized log p(x_0 | x_t) per position. Unless a process has another
    parameterization, it is *leave-one-out*: the prediction given the rest of the sequence, without the position's own
    noisy token. This makes the published posterior exact.

    Time s = 0 is the data itself: a step to s = 0 restores every token, whatever alpha(0) is.

    Attributes:
        schedule: Noise schedule.
        vocab_size: Number of tokens.
        losses_take_logits: The losses give the same for the logits of a network as for `log_x0` of them. Objectives
            then skip `log_x0`, which saves tensors of the size of the logits. A process that overrides `log_x0` or a
            loss decides for itself.
    """

    schedule: Schedule
    vocab_size: int
    losses_take_logits: ClassVar[bool] = False

    @abstractmethod
    def log_noise(self, like: Float[Tensor, "..."]) -> Float[Tensor, " v"]:
        """Return log pi, in the dtype and on the device of `like`."""

    @abstractmethod
    def prior(self, shape: tuple[int, ...], *, generator: Generator | None = None) -> Int[Tensor, "..."]:
        """Draw tokens from pi, the start of sampling, on the generator's device."""

    @abstractmethod
    def log_x0(self, logits: Float[Tensor, "*p v"], xt: Int[Tensor, "*p"]) -> Float[Tensor, "*p v"]:
        """Return the normalized log p(x_0 | x_t) for the logits of a network."""

    def leave_one_out(
        self, log_x0: Float[Tensor, "b l v"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l v"]:
        """Return `log_x0` without the evidence of the position's own noisy token; here it already excludes it."""
        return log_x0

    def mean(
        self, log_x0: Float[Tensor, "b l v"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_0 | x_t), including the evidence of the position's own noisy token.

        p(x_0^l | x_t)  ∝  q(x_t^l | x_0^l) p(x_0^l | x_t without position l)
        """
        sigma = self.schedule.sigma(t)[:, None]
        replaced = log1mexp(-sigma) + self.log_noise(log_x0)[xt]
        kept = torch.logaddexp(-sigma, replaced)
        log_weights = add_at(self.leave_one_out(log_x0, xt, t), xt, kept, replaced)
        impossible = log_weights == -torch.inf
        return log_weights.log_softmax(-1).masked_fill(impossible, -torch.inf)

    def log_noised(self, log_x0: Float[Tensor, "b l v"], s: Float[Tensor, " b"]) -> Float[Tensor, "b l v"]:
        """Return log[alpha_s p(x_0) + (1 - alpha_s) pi], the prediction with fresh noise; `log_x0` at s = 0."""
        noised = self._log_marginal(log_x0, self.sigma_or_data(s)[:, None])
        return torch.where((s > 0)[:, None, None], noised, log_x0)

    def unknown(self, xt: Int[Tensor, "b l"]) -> Bool[Tensor, "b l"] | None:
        """Return the positions whose clean token x_t leaves open, None for all; the losses are zero elsewhere."""
        return None

    def corrupt(
        self, x0: Int[Tensor, "b l"], t: Float[Tensor, " b"], *, generator: Generator | None = None
    ) -> Int[Tensor, "b l"]:
        """Draw x_t from q(x_t | x_0)."""
        device = x0.device if generator is None else generator.device
        lost = -torch.expm1(-self.schedule.sigma(t))
        n, length = x0.shape
        u = draw_rows(lambda rows, source: torch.rand((rows, length), generator=source, device=device), n, generator)
        prior = draw_rows(lambda rows, source: self.prior((rows, length), generator=source), n, generator)
        return torch.where(u.to(x0.device) < lost[:, None], prior.to(x0.device), x0)

    def log_posterior(
        self, log_x0: Float[Tensor, "b l v"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], s: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l v"]:
        """Return the reverse kernel log p(x_s | x_t) by Bayes' rule.

            p(x_s | x_t)  ∝  q(x_t | x_s) [alpha_s p(x_0 = x_s) + (1 - alpha_s) pi(x_s)]

        with q(x_t | x_s) = (alpha_t / alpha_s) x_s + (1 - alpha_t / alpha_s) pi   (UDLM, arXiv 2412.10193). The sum of
        the right side over x_s needs no pass over the vocabulary: with m_s the bracket, it is
        (alpha_t / alpha_s) m_s(x_t) + (1 - alpha_t / alpha_s) pi(x_t).
        """
        sigma_t, sigma_s = self.schedule.sigma(t)[:, None], self.sigma_or_data(s)[:, None]
        log_marginal_s = self._log_marginal(self.leave_one_out(log_x0, xt, t), sigma_s)
        replaced = log1mexp(sigma_s - sigma_t) + self.log_noise(log_x0)[xt]
        kept = torch.logaddexp(sigma_s - sigma_t, replaced)
        total = torch.logaddexp(sigma_s - sigma_t + pick(log_marginal_s, xt), replaced)
        return add_at(log_marginal_s, xt, kept - total, replaced - total)

    def diffusion_loss(
        self, log_x0: Float[Tensor, "b l v"], x0: Int[Tensor, "b l"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l"]:
        """Return the integrand of the continuous-time bound, in nats per token and unit of time.

        Let q = alpha x_0 + (1 - alpha) pi be the noisy distribution of the true token, m that of the predicted token,
        and d = log m(x_t) - log q(x_t). The relative entropy rate of the two reverse jump processes is

            -alpha' / alpha  pi(x_t) / q(x_t)  [ KL(q || m) + exp(-d) - 1 + d ]

        For pi = 1 / V this is UDLM's bound (arXiv 2412.10193), written so that both terms are non-negative. It sums
        over the vocabulary once, in E_pi[log m].

        `log_x0` may be unnormalized, such as the logits of a network: any constant of a position cancels. This saves
        the memory of the normalized copy.
        """
        sigma = self.schedule.sigma(t)[:, None]
        # Logits may be bfloat16, which is too coarse for the numbers below.
        log_noise = self.log_noise(t.to(torch.promote_types(t.dtype, log_x0.dtype)))
        alpha, lost, noise = (-sigma).exp(), -torch.expm1(-sigma), log_noise.exp()
        log_q_x0 = torch.logaddexp(-sigma, lost.log() + log_noise[x0])
        log_q_xt = torch.where(xt == x0, log_q_x0, lost.log() + log_noise[xt])
        log_p, expected_log_m = log_probs_and_noised(
            self.leave_one_out(log_x0, xt, t).flatten(0, 1),
            torch.stack([x0, xt], -1).flatten(0, 1),
            alpha=alpha.expand(x0.shape).flatten(),
            lost=lost.expand(x0.shape).flatten(),
            noise=noise,
        )
        log_p, expected_log_m = log_p.view(*x0.shape, 2), expected_log_m.view(x0.shape)
        log_m_x0 = torch.logaddexp(log_p[..., 0] - sigma, lost.log() + log_noise[x0])
        log_m_xt = torch.logaddexp(log_p[..., 1] - sigma, lost.log() + log_noise[xt])

        neg_entropy = (noise * log_noise).sum()
        other_q = lost * (neg_entropy - noise[x0] * log_noise[x0]) + torch.xlogy(lost, lost) * (1 - noise[x0])
        other_m = lost * (expected_log_m - noise[x0] * log_m_x0)
        kl = log_q_x0.exp() * (log_q_x0 - log_m_x0) + other_q - other_m
        d = log_m_xt - log_q_xt
        rate = -self.schedule.alpha_prime(t)[:, None] / alpha
        return rate * (log_noise[xt] - log_q_xt).exp() * (kl + torch.expm1(-d) + d)

    def cross_entropy(
        self, log_x0: Float[Tensor, "b l v"], x0: Int[Tensor, "b l"], xt: Int[Tensor, "b l"]
    ) -> Float[Tensor, "b l"]:
        """Return -log p(x_0 | x_t) in nats per token; `log_x0` may be unnormalized, as in `diffusion_loss`."""
        return -log_probs_of(log_x0.flatten(0, 1), x0.flatten()[:, None]).view(x0.shape)

    def step_loss(
        self,
        log_x0: Float[Tensor, "b l v"],
        x0: Int[Tensor, "b l"],
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
    ) -> Float[Tensor, "b l"]:
        """Return KL(q(x_s | x_t, x_0) || p(x_s | x_t)), in nats per token (D3PM, arXiv 2107.03006).

        At s = 0 it is the reconstruction term -log p(x_0 | x_t). `log_x0` may be unnormalized, as in `diffusion_loss`.
        """
        log_q = self.log_posterior(F.one_hot(x0, self.vocab_size).to(log_x0.dtype).log(), xt, t, s)
        log_p = self.log_posterior(log_x0.log_softmax(-1), xt, t, s)
        gap = (log_q - log_p).masked_fill(log_q == -torch.inf, 0.0)
        return (log_q.exp() * gap).sum(-1)

    def prior_loss(
        self, denoiser: Denoiser, x0: Int[Tensor, "b l"], y: Condition | None = None
    ) -> Float[Tensor, "b l"]:
        """Return KL(q(x_1 | x_0) || pi), the cost of alpha(1) > 0, in nats per token, without denoiser passes."""
        one = torch.ones((), device=x0.device)
        sigma, log_noise = self.schedule.sigma(one), self.log_noise(one)
        lost = -torch.expm1(-sigma)
        log_q_x0 = torch.logaddexp(-sigma, lost.log() + log_noise[x0])
        return log_q_x0.exp() * (log_q_x0 - log_noise[x0]) + lost * lost.log() * (1 - log_noise[x0].exp())

    def sigma_or_data(self, s: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return sigma(s), or zero at s = 0, where the latent is the data."""
        return torch.where(s > 0, self.schedule.sigma(s), 0.0)

    def _log_marginal(self, log_x0: Float[Tensor, "b l v"], sigma: Float[Tensor, "b 1"]) -> Float[Tensor, "b l v"]:
        """Return log[alpha p(x_0) + (1 - alpha) pi]."""
        lost = log1mexp(-sigma)[..., None] + self.log_noise(log_x0)
        return torch.logaddexp(log_x0 - sigma[..., None], lost)


def log1mexp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return log(1 - exp(x)) for x <= 0, accurate near zero."""
    return (-torch.expm1(x)).log()


def add_at(
    log_probs: Float[Tensor, "*p v"],
    tokens: Int[Tensor, "*p"],
    there: Float[Tensor, "*p"],
    elsewhere: Float[Tensor, "*p"],
) -> Float[Tensor, "*p v"]:
    """Add `there` to the log-probability of one token per position, and `elsewhere` to those of the others."""
    result = log_probs + elsewhere[..., None]
    return result.scatter_(-1, tokens[..., None], (pick(log_probs, tokens) + there)[..., None].to(result.dtype))


def pick(log_probs: Float[Tensor, "*p v"], tokens: Int[Tensor, "*p"]) -> Float[Tensor, "*p"]:
    """Return the log-probability of each token."""
    return log_probs.gather(-1, tokens[..., None]).squeeze(-1)
