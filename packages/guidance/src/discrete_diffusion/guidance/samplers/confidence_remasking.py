"""Ancestral sampling of masked diffusion that masks uncertain tokens again."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import invert_cdf
from discrete_diffusion.guidance.protocols import Denoiser, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, check_steps, masking
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform


def confidence_remasking(
    denoiser: Denoiser,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    rate: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of masked diffusion whose uncertain tokens are masked again (ReMDM-conf, arXiv 2503.00307).

    A step from t to s reveals a mask with probability (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), as
    `discrete_diffusion.processes.Remasking` does, with sigma = rate(min(1, (1 - alpha_s) / alpha_t)). Of n revealed
    tokens that are free, each is masked with probability

        sigma_l = min(1, n sigma w_l),    w = softmax over the revealed tokens of -psi,

    where psi_l is the probability that token l had when it was drawn. The mean of sigma_l is sigma, so that the
    expected number of masks is that of the schedule as long as sigma <= 1/e, where no sigma_l is cut. (In the paper,
    their sum is sigma, and masks are revealed as if it were zero.) Which tokens are masked depends on the samples: for
    sigma > 0 the marginals of x_t, and the limit of many steps, are not exactly those of the model.

    The positions to reveal are drawn first, and the denoiser is evaluated at them alone.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        xt: Tokens at times[0], masks where they are to be generated. Tokens that are revealed there have psi = 1.
        times: Strictly descending in [0, 1]; the step to 0 reveals every mask.
        mask_id: Token that stands for a mask.
        survival: alpha(t) of the noise schedule.
        rate: Map from the largest admissible sigma to sigma, such as `discrete_diffusion.processes.Capped`.
        y: Labels, passed to the denoiser.
        clamp: Token that each position must hold, -1 where it is free. Clamped tokens are never masked.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `times` or `clamp` is malformed (at once), or the denoiser returns the wrong shape (while
            iterating).
    """
    check_times(times)
    check_clamp(clamp, xt)
    free = torch.ones_like(xt, dtype=torch.bool) if clamp is None else clamp < 0
    return _steps(denoiser, hold(xt, clamp), free, times, mask_id, survival, rate, y, generator)


def _steps(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    free: Bool[Tensor, "b l"],
    times: Float[Tensor, " n"],
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    rate: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    grid = times.to(x.device)
    alpha = survival(times.double())
    alpha[times == 0] = 1.0
    psi = torch.ones(x.shape, dtype=torch.float64, device=x.device)
    yield State(float(times[0]), x)
    for i in range(len(times) - 1):
        before, after = alpha[i], alpha[i + 1]
        sigma = rate(((1 - after) / before).nan_to_num(nan=0.0).clamp(max=1)[None])[0]
        share = float(((after - (1 - sigma) * before) / (1 - before)).clamp(0, 1))
        with torch.no_grad():
            # All draws come first, whether they are needed or not: each step takes the same count of numbers.
            reveal, token, remask = draw_uniform((len(x), 3, x.shape[1]), generator, x.device).unbind(1)
            masked = x == mask_id
            chosen = masked & (reveal < share)
            again = ~masked & free & (remask < remasking_rates(psi, ~masked & free, float(sigma)))
            rows = chosen.any(1)
            if bool(rows.any()):
                t = grid[i].expand(int(rows.sum()))
                log_probs = evaluate(denoiser, x[rows], t, y=None if y is None else y[rows], at=chosen[rows])
                if log_probs.ndim != 2 or len(log_probs) != int(chosen.sum()):
                    raise ValueError(
                        f"Expected the denoiser to return ({int(chosen.sum())}, vocabulary) for the positions of `at`, "
                        f"got {tuple(log_probs.shape)}."
                    )
                drawn = invert_cdf(log_probs, token[chosen])
                x = x.masked_scatter(chosen, drawn)
                psi = psi.masked_scatter(chosen, log_probs.double().exp().gather(-1, drawn[:, None])[:, 0])
            x = x.masked_fill(again, mask_id)
        yield State(float(times[i + 1]), x)


def remasking_rates(psi: Float[Tensor, "b l"], revealed: Bool[Tensor, "b l"], sigma: float) -> Float[Tensor, "b l"]:
    """Return sigma_l of each revealed token, zero elsewhere; see `confidence_remasking`."""
    # A row without a revealed token has no softmax.
    weights = (-psi).masked_fill(~revealed, -math.inf).softmax(-1).nan_to_num(0.0)
    return (weights * revealed.sum(-1, keepdim=True) * sigma).clamp(max=1)


@dataclass(frozen=True)
class ConfidenceRemaskingSampler(DiffusionSampler):
    """Sampler of masked diffusion that masks uncertain tokens again; see `confidence_remasking` and `Sampler`.

    Args:
        process: Masked diffusion.
        rate: Map from the largest admissible remasking probability to the mean probability used.
        steps: Number of steps, >= 1.
        grid: Times of the steps.

    Raises:
        ValueError: If `process` has no masks, or `steps` < 1.
    """

    process: ScheduledNoise
    rate: Callable[[Tensor], Tensor]
    steps: int = 32
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        masking(self.process, "ConfidenceRemaskingSampler")
        check_steps(self.steps)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("ConfidenceRemaskingSampler")
        process = masking(self.process, "ConfidenceRemaskingSampler")
        return Run(
            partial(
                confidence_remasking,
                model.denoiser,
                times=self.grid(self.steps, process.schedule),
                mask_id=process.mask_id,
                survival=process.schedule.alpha,
                rate=self.rate,
            )
        )
