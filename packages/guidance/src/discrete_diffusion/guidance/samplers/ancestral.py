"""Ancestral sampling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.constraints import Allowed
from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Lift, Model, Noise, evaluate
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.state import State, last
from discrete_diffusion.guidance.samplers.wrapping import Wrapper, fold
from discrete_diffusion.guidance.searches.search import Search


def trajectory(
    kernel: Model,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[State]:
    """Yield every state of ancestral sampling: x_{t_0} as given, then x_{t_i} ~ p(x_{t_i} | x_{t_{i-1}}, y) in turn.

    Progress bars, pictures and stopping early are the caller's loop. Runs without gradients; a kernel that needs one
    inside enables it itself.

    Clamped positions hold their tokens in every state, the first included. For an absorbing process this is exact
    infilling: an unmasked token is a clean one, so the denoiser already means p(x_0 | given tokens), and the law
    tends to the exact conditional as the steps get finer. For processes whose noise looks like data (uniform,
    marginal) it is a heuristic: the denoiser takes a given token for one that may be noise, and trusts it too little
    while t is large.

    Args:
        kernel: anything that returns log p(x_s | x_t, y), (b, l, v).
        xt: tokens at times[0]; a draw from the prior for times[0] = 1.
        times: strictly descending in [0, 1], both ends included: n times make n - 1 steps.
        y: labels, handed to the kernel.
        clamp: the token each position must hold, -1 where it is free.
        generator: where the randomness comes from, torch's default generator if None.

    Raises:
        ValueError: `times` or `clamp` is malformed (at once), or the kernel returns the wrong shape (on iterating).
    """
    check_times(times)
    check_clamp(clamp, xt)
    return _steps(kernel, xt, times, y, clamp, generator)


def sample(
    kernel: Model,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "b l"]:
    """Return the tokens at the end of `trajectory`, which must be t = 0.

    Raises:
        ValueError: as `trajectory`, and where `times` ends before the data.
    """
    states = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
    if times[-1] != 0:
        raise ValueError(f"Expected `times` to end at 0, got {float(times[-1])}: use `trajectory` to stop before.")
    return last(states)


def _steps(
    kernel: Model,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: torch.Generator | None,
) -> Iterator[State]:
    x = hold(xt, clamp)
    grid = times.to(x.device)
    at = times.tolist()
    yield State(at[0], x)
    for i in range(1, len(at)):
        # Not around the yield: the caller's code between two states keeps its own mode.
        with torch.no_grad():
            log_probs = evaluate(kernel, x, grid[i - 1].expand(len(x)), grid[i].expand(len(x)), y=y)
            if log_probs.shape[:-1] != x.shape:
                raise ValueError(
                    f"Expected the kernel to return ({', '.join(map(str, x.shape))}, vocabulary), "
                    f"got {tuple(log_probs.shape)}."
                )
            x = hold(sample_categorical(log_probs, generator), clamp)
        yield State(at[i], x)


def check_times(times: Float[Tensor, " n"]) -> None:
    """Raise unless `times` descend strictly within [0, 1]."""
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"Expected `times` to be a line of at least 2 times, got shape {tuple(times.shape)}.")
    if not bool(((times >= 0) & (times <= 1)).all()):
        raise ValueError(f"Expected `times` in [0, 1], got {times.tolist()}.")
    if not bool((times.diff() < 0).all()):
        raise ValueError(f"Expected strictly descending `times`, from noise (1) to data (0), got {times.tolist()}.")


@dataclass(frozen=True)
class AncestralSampler:
    """From noise to data in `steps` equal steps of time, by the kernel that `lift` makes of a denoiser.

    Methods that open the denoiser go around it first, then the tokens that are not allowed, then guidance of the
    denoiser; the lift follows, and guidance of the kernel goes around that. A search replaces the plain walk.

    Args:
        process: the noise that sampling starts from.
        lift: called as `lift(denoiser=...)`; returns the kernel.
        steps: steps of time, >= 1.
    """

    process: Noise
    lift: Lift
    steps: int = 32

    def __call__(
        self,
        denoiser: Model,
        shape: tuple[int, int],
        *,
        y: Tensor | None = None,
        on_hidden: Sequence[Wrapper] = (),
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        search: Search | None = None,
        allowed: Tensor | None = None,
        clamp: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state; the last is the sample.

        Args:
            allowed: the tokens that each position may hold, (l, v). Latents keep to it at every step, not at the last
                one alone; a mask, which no data hold, is always allowed.
        """
        b, length = shape
        rows = b if search is None else search.rows(b)
        times = torch.linspace(1, 0, self.steps + 1, dtype=torch.float64).float()
        denoiser = fold(on_hidden, denoiser)
        if allowed is None:
            xt = self.process.prior((rows, length), generator=generator).to(device)
        else:
            allowed, log_noise = allowed.to(device), self.process.log_noise(times).to(device)
            latents = allowed | (log_noise == 0)
            xt = sample_categorical(log_noise.where(latents, -torch.inf).expand(rows, -1, -1), generator)
            denoiser = Allowed(denoiser, allowed)
        denoiser = fold(on_denoiser, denoiser)
        kernel: Model = self.lift(denoiser=denoiser)
        kernel = fold(on_kernel, kernel if allowed is None else Allowed(kernel, latents))
        if search is None:
            return trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
        run = partial(trajectory, kernel, times=times)
        found = partial(search, run, xt, kernel=kernel, denoiser=denoiser, times=times)
        return found(y=y, clamp=clamp, generator=generator)
