"""Masked diffusion in continuous time, event by event."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Denoiser, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.by_order import RandomOrder
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, masking
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform, selected_rows


def first_hitting(
    denoiser: Denoiser,
    xt: Int[Tensor, "b l"],
    *,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    k: int = 1,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of the first-hitting sampler of masked diffusion (arXiv 2409.02908, section 4).

    The reverse process of n masks waits until the time tau with

        1 - alpha(tau) = (1 - alpha(t)) u^(1 / n),    u uniform on [0, 1],

    and then reveals one masked position, chosen uniformly at random, by p(x_0 | x_tau). This is the limit of ancestral
    sampling as its steps get finer, without the error of a grid: a sample of l masks costs l evaluations, each at one
    position. With `k` > 1 the next k events share the prediction at the time of the first, for a k-th of the cost;
    their tokens are then drawn independently.

    Rows without a mask are not evaluated. Guidance of the denoiser applies; there is no kernel to guide.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        xt: Tokens at t = 1, masks where they are to be generated.
        mask_id: Token that stands for a mask.
        survival: alpha(t) of the noise schedule.
        inverse: The time at which the survival has a given value.
        k: Positions revealed for each evaluation.
        y: Labels, passed to the denoiser.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `k` < 1 or `clamp` is malformed (at once), or the denoiser returns the wrong shape (while
            iterating).
    """
    order = RandomOrder(k)
    check_clamp(clamp, xt)
    return _events(denoiser, hold(xt, clamp), order, mask_id, survival, inverse, y, generator)


def _events(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    order: RandomOrder,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    t = torch.ones(len(x), dtype=torch.float64, device=x.device)
    yield State(1.0 if bool((x == mask_id).any()) else 0.0, x)
    while bool((x == mask_id).any()):
        with torch.no_grad():
            masked = x == mask_id
            rows = masked.any(1)
            left = masked[rows].sum(1)
            u = draw_uniform((len(x), order.k), generator, x.device)[rows]
            # The i-th of the next k events ends the wait of left - i masks; events beyond the last mask do not happen.
            waiting = (left[:, None] - torch.arange(order.k, device=x.device)).clamp(min=1)
            lost = (1 - survival(t[rows]))[:, None] * (u ** (1 / waiting)).cumprod(1)
            times = inverse(1 - lost)
            chosen = order(torch.empty(0, 1, device=x.device), masked[rows], selected_rows(generator, rows))
            log_probs = evaluate(denoiser, x[rows], times[:, 0].float(), y=None if y is None else y[rows], at=chosen)
            if log_probs.ndim != 2 or len(log_probs) != int(chosen.sum()):
                raise ValueError(
                    f"Expected the denoiser to return ({int(chosen.sum())}, vocabulary) for the positions of `at`, got "
                    f"{tuple(log_probs.shape)}."
                )
            revealed = torch.zeros_like(masked)
            revealed[rows] = chosen
            x = x.masked_scatter(revealed, sample_categorical(log_probs, generator, at=revealed))
            t = t.masked_scatter(rows, times.gather(1, (left.clamp(max=order.k) - 1)[:, None])[:, 0])
        done = not bool((x == mask_id).any())
        yield State(0.0 if done else float(t[(x == mask_id).any(1)].max()), x)


@dataclass(frozen=True)
class FirstHittingSampler(DiffusionSampler):
    """Sampler of masked diffusion in continuous time; see `first_hitting` and `Sampler`.

    Args:
        process: Masked diffusion.
        k: Positions revealed for each evaluation, >= 1.

    Raises:
        ValueError: If `process` has no masks, or `k` < 1.
    """

    process: ScheduledNoise
    k: int = 1

    def __post_init__(self) -> None:
        masking(self.process, "FirstHittingSampler")
        RandomOrder(self.k)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("FirstHittingSampler")
        process = masking(self.process, "FirstHittingSampler")
        schedule = process.schedule
        return Run(
            partial(
                first_hitting,
                model.denoiser,
                mask_id=process.mask_id,
                survival=schedule.alpha,
                inverse=schedule.inverse,
                k=self.k,
            )
        )
