"""Exact simulation of the reverse jump process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import ConditionalLift, Denoiser, Kernel, Lift, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import trajectory
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, apart, draw_uniform


def uniformization(
    conditional: Denoiser,
    last_step: Kernel,
    xt: Int[Tensor, "b l"],
    *,
    noise: Float[Tensor, " v"],
    survival: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    start: float = 1.0,
    end: float = 0.01,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of the reverse process of uniform or marginal noise, simulated exactly (arXiv 2402.08095).

    With m(v) = p(x_t^l = v | x_t without l), a position leaves x for v at the rate

        beta_t pi(x) m(v) / m(x)  <=  bound_t m(v),    bound_t = beta_t / (1 - alpha_t),

    since m(x) >= (1 - alpha_t) pi(x). In the time log(alpha / (1 - alpha)) the bound is one for each position: events
    come at the rate of the number of free positions, each at one position chosen uniformly at random, and an event is a
    jump to v with probability (1 - alpha_t) pi(x) m(v) / m(x), and no jump otherwise. There is no step size.

    The number of events is random, on average l (logit alpha(end) - logit alpha(start)), and each costs one evaluation
    at one position. The bound diverges at t = 0: from `end` on, one step of the kernel `last_step` remains, whose error
    is of the order of 1 - alpha(end).

    Args:
        conditional: log p(x_t^l | x_t without l, y), with the signature of a denoiser, `at` included.
        last_step: log p(x_s | x_t, y) of the step from `end` to 0.
        xt: Tokens at `start`.
        noise: Noise distribution pi, positive.
        survival: alpha(t) of the noise schedule.
        inverse: The time at which the survival has a given value.
        start: Time of `xt`.
        end: Time at which the last step begins, in (0, start).
        y: Labels, passed to both models.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `noise` has a zero, the times are not 1 >= start > end > 0, or `clamp` is malformed (at once).
    """
    check_exact(noise, start, end)
    check_clamp(clamp, xt)
    return _events(conditional, last_step, xt, noise, survival, inverse, start, end, y, clamp, generator)


def _events(
    conditional: Denoiser,
    last_step: Kernel,
    xt: Int[Tensor, "b l"],
    noise: Float[Tensor, " v"],
    survival: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    start: float,
    end: float,
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    x = hold(xt, clamp)
    device, afterwards = x.device, apart(generator)
    free = torch.ones_like(x, dtype=torch.bool) if clamp is None else clamp < 0
    first, final = (survival(torch.tensor(t, dtype=torch.float64, device=device)).logit() for t in (start, end))
    clock = first.expand(len(x)).clone()

    yield State(start, x)
    while True:
        # Rows without a free position wait forever.
        clock = clock - torch.log1p(-draw_uniform((len(x),), generator, device)) / free.sum(1)
        rows = clock < final
        if not bool(rows.any()):
            break
        with torch.no_grad():
            score = draw_uniform(x.shape, generator, device).masked_fill(~free, -1)
            at = torch.nn.functional.one_hot(score[rows].argmax(1), x.shape[1]).bool()
            alpha = clock[rows].sigmoid()
            log_m = evaluate(
                conditional, x[rows], inverse(alpha).float(), y=None if y is None else y[rows], at=at
            ).double()
            token = x[rows][at]
            jump = (
                (1 - alpha)[:, None] * noise.to(device)[token, None] * (log_m - log_m.gather(1, token[:, None])).exp()
            )
            moves = jump.scatter(1, token[:, None], 0)
            # Rounding may lift the sum of the jumps over the bound.
            outcome = moves.scatter(1, token[:, None], (1 - moves.sum(1, keepdim=True)).clamp(min=0))
            changed = torch.zeros_like(free)
            changed[rows] = at
            drawn = sample_categorical(outcome.log(), generator, at=changed)
            x = x.masked_scatter(changed, drawn)
        yield State(float(inverse(clock[rows].min().sigmoid())), x)
    times = torch.tensor([end, 0.0], dtype=torch.float64)
    *_, state = trajectory(last_step, x, times, y=y, clamp=clamp, generator=afterwards)
    yield state


@dataclass(frozen=True)
class UniformizationSampler(DiffusionSampler):
    """Exact sampler of uniform or marginal noise; see `uniformization` and `Sampler`.

    Args:
        process: Forward process without masks.
        lift: Function from denoiser to the kernel of the last step.
        conditional: Function from denoiser to log p(x_t^l | x_t without l).
        end: Time at which the last step begins, in (0, 1).

    Raises:
        ValueError: If `end` is out of range, or the noise has a zero.
    """

    process: ScheduledNoise
    lift: Lift
    conditional: ConditionalLift
    end: float = 0.01

    def __post_init__(self) -> None:
        check_exact(self.noise(), 1.0, self.end)

    def noise(self) -> Float[Tensor, " v"]:
        """Return the noise distribution, in float64."""
        return self.process.log_noise(torch.ones((), dtype=torch.float64)).exp()

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel, or a constraint, under which rates are not bounded.
        """
        model.check_kernel_is_unguided("UniformizationSampler")
        if model.latents is not None:
            raise ValueError(
                "Expected no constraints for UniformizationSampler: its rates are bounded over all tokens."
            )
        schedule = self.process.schedule
        return Run(
            partial(
                uniformization,
                model.conditional(self.conditional),
                model.kernel(self.lift),
                noise=self.noise(),
                survival=schedule.alpha,
                inverse=schedule.inverse,
                end=self.end,
            )
        )


def check_exact(noise: Float[Tensor, " v"], start: float, end: float) -> None:
    """Raise unless the noise is positive and 1 >= start > end > 0.

    Raises:
        ValueError: If they are not.
    """
    if not bool((noise > 0).all()):
        raise ValueError("Expected positive `noise`: masked diffusion is simulated exactly by `first_hitting`.")
    if not 1 >= start > end > 0:
        raise ValueError(f"Expected 1 >= `start` > `end` > 0, got {start} and {end}.")
