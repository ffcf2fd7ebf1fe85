"""Training objectives and likelihood bounds of diffusion models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.denoiser import LatentDenoiser, NetworkDenoiser
from discrete_diffusion.processes.fused import fused_loss, fuses
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, TokenwiseNetwork, given
from discrete_diffusion.schedules import DiscreteTimes, IndependentTimes, LowDiscrepancyTimes, StratifiedTimes


class Terms(NamedTuple):
    """Terms of a bound on -log p(x_0), in nats per token; each is an unbiased estimate for every row."""

    prior: Float[Tensor, "b l"]
    diffusion: Float[Tensor, "b l"]
    reconstruction: Float[Tensor, "b l"]

    @property
    def total(self) -> Float[Tensor, "b l"]:
        """Sum of the three terms: the bound."""
        return self.prior + self.diffusion + self.reconstruction


class Objective(Protocol):
    """Training loss and likelihood bound of a model. Random numbers are drawn on the generator's device."""

    def loss(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """Return the training loss in nats per token, unreduced, from one pass through the denoiser."""
        ...

    def terms(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """Return the terms of the bound on -log p(x_0), in nats per token."""
        ...


@dataclass(frozen=True)
class ContinuousNELBO:
    """Continuous-time bound (MDLM, arXiv 2406.07524; UDLM, arXiv 2412.10193).

        -log p(x_0) <= prior + integral over [t_min, 1] of the diffusion loss + reconstruction at t_min

    Training minimizes the integral, estimated at one time per row.

    Args:
        process: Forward process.
        times: Distribution of the training times.
    """

    process: Process
    times: IndependentTimes | LowDiscrepancyTimes | StratifiedTimes = LowDiscrepancyTimes()

    def loss(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """Return an estimate of the integral, in nats per token."""
        t = self.times(len(x0), generator=generator).to(x0.device)
        xt = self.process.corrupt(x0, t, generator=generator)
        return (1 - self.times.t_min) * _loss(self.process, self.process.diffusion_loss, denoiser, x0, xt, y, t)

    def terms(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """Return the three terms; the reconstruction term takes one more denoiser pass, at t_min."""
        return Terms(
            prior=self.process.prior_loss(denoiser, x0, y),
            diffusion=self.loss(denoiser, x0, y, generator=generator),
            reconstruction=_reconstruction(self.process, denoiser, x0, y, t=self.times.t_min, generator=generator),
        )


@dataclass(frozen=True)
class DiscreteNELBO:
    """Discrete-time bound for a chain of T steps (D3PM, arXiv 2107.03006, eq. 1).

        -log p(x_0) <= prior + sum over i = 2 ... T of KL(q(x_s | x_t, x_0) || p(x_s | x_t)) + reconstruction

    with t = i / T and s = (i - 1) / T; the reconstruction term is at t = 1 / T. Training minimizes the sum over
    i = 1 ... T, whose first term is the reconstruction, estimated at one i per row.

    Args:
        process: Forward process.
        steps: Length T of the chain.

    Raises:
        ValueError: If `steps` < 1.
    """

    process: Process
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Expected `steps` >= 1, got {self.steps}.")

    def loss(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """Return an estimate of the diffusion and reconstruction terms together, in nats per token."""
        return self._sum_from(1, denoiser, x0, y, generator)

    def terms(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """Return the three terms, each from separate denoiser passes."""
        prior = self.process.prior_loss(denoiser, x0, y)
        return Terms(
            prior=prior,
            diffusion=self._sum_from(2, denoiser, x0, y, generator) if self.steps > 1 else torch.zeros_like(prior),
            reconstruction=_reconstruction(self.process, denoiser, x0, y, t=1 / self.steps, generator=generator),
        )

    def _sum_from(
        self,
        first: int,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None,
        generator: Generator | None,
    ) -> Float[Tensor, "b l"]:
        t = DiscreteTimes(self.steps, first=first)(len(x0), generator=generator).to(x0.device)
        s = ((t * self.steps).round() - 1) / self.steps
        xt = self.process.corrupt(x0, t, generator=generator)
        return (self.steps - first + 1) * _loss(self.process, self.process.step_loss, denoiser, x0, xt, y, t, s)


@dataclass(frozen=True)
class CrossEntropy:
    """Denoising cross-entropy -log p(x_0 | x_t) of every token at uniform times, without the weight of the bound.

    Its minimizer is the mean E[x_0 | x_t], so uniform or marginal noise needs the `Mean` parameterization.

    Args:
        process: Forward process.
        times: Distribution of the training times.
    """

    process: Process
    times: IndependentTimes | LowDiscrepancyTimes | StratifiedTimes = LowDiscrepancyTimes()

    def loss(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """Return the cross-entropy in nats per token; it does not bound the likelihood."""
        t = self.times(len(x0), generator=generator).to(x0.device)
        xt = self.process.corrupt(x0, t, generator=generator)
        return _loss(
            self.process, lambda log_x0, x0, xt, t: self.process.cross_entropy(log_x0, x0, xt), denoiser, x0, xt, y, t
        )

    def terms(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """Return the terms of the continuous-time bound."""
        return ContinuousNELBO(self.process, self.times).terms(denoiser, x0, y, generator=generator)


def _reconstruction(
    process: Process,
    denoiser: Denoiser,
    x0: Int[Tensor, "b l"],
    y: Condition | None,
    *,
    t: float,
    generator: Generator | None,
) -> Float[Tensor, "b l"]:
    """Return -log p(x_0 | x_t) at the earliest time t; zero, without a denoiser pass, if x_t is the data itself."""
    times = torch.full((len(x0),), t, device=x0.device)
    if process.schedule.sigma(times[:1]).item() == 0:
        return torch.zeros(x0.shape, device=x0.device)
    xt = process.corrupt(x0, times, generator=generator)
    return _loss(process, process.step_loss, denoiser, x0, xt, y, times, torch.zeros_like(times))


def _loss(
    process: Process,
    loss: Callable[..., Float[Tensor, "b l"]],
    denoiser: Denoiser,
    x0: Int[Tensor, "b l"],
    xt: Int[Tensor, "b l"],
    y: Condition | None,
    *times: Float[Tensor, " b"],
) -> Float[Tensor, "b l"]:
    """Return the loss of one denoiser pass at the first of the times.

    Losses that take logits get those of the network, and a latent network decodes only the positions that x_t leaves
    open. With a large vocabulary, the loss is fused with the output layer.
    """
    if isinstance(denoiser, LatentDenoiser) and fuses(denoiser.network, xt.numel()):
        return _fused(process, loss, denoiser, x0, xt, y, *times)
    predict = denoiser.logits if isinstance(denoiser, NetworkDenoiser) and process.losses_take_logits else denoiser
    at = process.unknown(xt) if isinstance(denoiser, LatentDenoiser) else None
    if at is None:
        return loss(predict(xt, times[0], **given(y=y)), x0, xt, *times)
    logits = predict(xt, times[0], **given(y=y, at=at))
    counts = at.sum(1)
    # One row per position, with the times of its sequence.
    losses = loss(
        logits[:, None], x0[at][:, None], xt[at][:, None], *(time.repeat_interleave(counts) for time in times)
    )
    return losses.new_zeros(x0.shape).masked_scatter(at, losses)


def _fused(
    process: Process,
    loss: Callable[..., Float[Tensor, "b l"]],
    denoiser: LatentDenoiser,
    x0: Int[Tensor, "b l"],
    xt: Int[Tensor, "b l"],
    y: Condition | None,
    *times: Float[Tensor, " b"],
) -> Float[Tensor, "b l"]:
    assert isinstance(denoiser.network, TokenwiseNetwork)
    hidden = denoiser.encode(xt, times[0], **given(y=y))
    unknown = process.unknown(xt)
    at = torch.ones_like(xt, dtype=torch.bool) if unknown is None else unknown
    row, column = at.nonzero(as_tuple=True)

    def of_logits(logits: Tensor, x0: Tensor, xt: Tensor, *times: Tensor) -> Tensor:
        log_x0 = logits if process.losses_take_logits else process.log_x0(logits, xt)
        # One row per token, with the times of its sequence.
        return loss(log_x0[:, None], x0[:, None], xt[:, None], *times)[:, 0]

    losses = fused_loss(
        denoiser.network,
        of_logits,
        hidden[row, column],
        denoiser.process.schedule.sigma(times[0])[row],
        None if y is None else y[row],
        x0[at],
        xt[at],
        *(time[row] for time in times),
    )
    return losses.new_zeros(x0.shape).masked_scatter(at, losses)
