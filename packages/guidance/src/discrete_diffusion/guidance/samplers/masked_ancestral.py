"""Ancestral sampling of masked diffusion at the cost of what changes."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Denoiser, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.state import State


def masked_ancestral(
    denoiser: Denoiser,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[State]:
    """Yield every state of ancestral sampling of masked diffusion, choosing first and computing after.

    A step from t to s reveals each masked position with probability

        (alpha_s - alpha_t) / (1 - alpha_t),

    whatever the network predicts. The positions are therefore drawn first, and the denoiser is asked for them alone, in
    the rows that have any: the distribution is that of `trajectory` with the ancestral kernel, and the output layer
    runs at the positions that change. Of L masks in n equal steps of survival a row is evaluated in

        n (1 - (1 - 1 / n)^L)

    steps on average. Guidance of the denoiser applies; guidance of the kernel has a say in what is revealed, and needs
    `trajectory`.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        xt: Tokens at times[0], masks where they are to be generated.
        times: Strictly descending in [0, 1]; the step to 0 reveals every mask.
        mask_id: Token that stands for a mask.
        survival: alpha(t) of the noise schedule.
        y: Labels, passed to the denoiser.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `times` or `clamp` is malformed (at once), or the denoiser returns the wrong shape (while
            iterating).
    """
    check_times(times)
    check_clamp(clamp, xt)
    return _steps(denoiser, hold(xt, clamp), times, mask_id, survival, y, generator)


def _steps(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None,
    generator: torch.Generator | None,
) -> Iterator[State]:
    home = x.device if generator is None else generator.device
    alpha = torch.where(times > 0, survival(times.double()), 1.0)
    shares = ((alpha[1:] - alpha[:-1]) / (1 - alpha[:-1])).tolist()
    grid = times.to(x.device)
    yield State(float(times[0]), x)
    for i, share in enumerate(shares):
        with torch.no_grad():
            u = torch.rand(x.shape, dtype=torch.float64, generator=generator, device=home).to(x.device)
            chosen = (x == mask_id) & (u < share)
            rows = chosen.any(1)
            if bool(rows.any()):
                t = grid[i].expand(int(rows.sum()))
                log_probs = evaluate(denoiser, x[rows], t, y=None if y is None else y[rows], at=chosen[rows])
                if log_probs.ndim != 2 or len(log_probs) != int(chosen.sum()):
                    raise ValueError(
                        f"Expected the denoiser to return ({int(chosen.sum())}, vocabulary) for the positions of `at`, "
                        f"got {tuple(log_probs.shape)}."
                    )
                x = x.masked_scatter(chosen, sample_categorical(log_probs, generator))
        yield State(float(times[i + 1]), x)
