"""What the searches share: they spend more samples on a reward that need not have a gradient."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Model, evaluate
from discrete_diffusion.guidance.samplers.clamping import hold
from discrete_diffusion.guidance.samplers.state import State

Reward = Callable[[Tensor], Tensor]
"""Clean tokens (n, l) to n numbers, higher is better, -inf is impossible. Any function: no gradient is asked for."""

Run = Callable[..., Iterator[State]]
"""The ordinary sampler, `run(xt, y=, clamp=, generator=)`, which yields the states of all rows of `xt`."""


@runtime_checkable
class Search(Protocol):
    """Samples from p(x_0) exp(gamma r(x_0)) / Z, or nearer to it than p: b independent searches, one sample each.

    `xt` has `rows(b)` rows, each a draw of its own from the prior: row i * rows(1) + k is start k of search i. `y` and
    `clamp` have b rows. States hold one sequence of each search, (b, l); that of the last is the sample.
    """

    def rows(self, b: int) -> int:
        """How many rows `xt` must have for b searches."""
        ...

    def __call__(
        self,
        run: Run,
        xt: Int[Tensor, "n l"],
        *,
        kernel: Model | None = None,
        denoiser: Model | None = None,
        times: Float[Tensor, " m"] | None = None,
        y: Int[Tensor, " b"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[State]:
        """Yield the states of all searches."""
        ...


def check_gamma(gamma: float | int, *, infinite: bool = False) -> None:
    """Raise unless `gamma` is a number >= 0, finite unless `infinite`."""
    if not (gamma >= 0 and (infinite or gamma < math.inf)):
        raise ValueError(f"Expected {'' if infinite else 'a finite '}`gamma` >= 0, got {gamma}.")


def require_diffusion(
    kernel: Model | None, denoiser: Model | None, times: Float[Tensor, " m"] | None
) -> tuple[Model, Model, Tensor]:
    """Return the three, or raise: a left-to-right model has none of them."""
    if kernel is None or denoiser is None or times is None:
        raise ValueError(
            "Expected `kernel`, `denoiser` and `times` of a diffusion model, got None: search a left-to-right model "
            "with BestOf."
        )
    if times[-1] != 0:
        raise ValueError(f"Expected `times` to end at 0, got {float(times[-1])}: a reward is one of clean tokens.")
    return kernel, denoiser, times


def spread(
    xt: Int[Tensor, "n l"], count: int, y: Int[Tensor, " b"] | None, clamp: Int[Tensor, "b l"] | None
) -> tuple[Int[Tensor, " n"] | None, Int[Tensor, "n l"] | None]:
    """Repeat the labels and given tokens of each search for its `count` rows of `xt`.

    Raises:
        ValueError: the numbers of rows do not match.
    """
    b, rest = divmod(len(xt), count)
    if rest:
        raise ValueError(f"Expected `xt` with {count} rows for each search, got {len(xt)}: draw `rows(b)` of them.")
    for name, given in (("y", y), ("clamp", clamp)):
        if given is not None and len(given) != b:
            raise ValueError(f"Expected `{name}` with one row for each of the {b} searches, got {len(given)}.")
    return (
        None if y is None else y.repeat_interleave(count, 0),
        None if clamp is None else clamp.repeat_interleave(count, 0),
    )


def score(reward: Reward, x0: Int[Tensor, "n l"]) -> Float[Tensor, " n"]:
    """The rewards of clean tokens, in float64 on the CPU, where the few numbers of a search are weighed.

    Raises:
        ValueError: a reward is NaN or +inf, or there is not one for each sequence.
    """
    rewards = reward(x0)
    if rewards.shape != x0.shape[:1]:
        raise ValueError(f"Expected the reward to return ({len(x0)},), got {tuple(rewards.shape)}.")
    rewards = rewards.detach().cpu().double()
    bad = rewards.isnan() | (rewards == math.inf)
    if bool(bad.any()):
        value, row = float(rewards[bad][0]), x0[int(bad.nonzero()[0])].tolist()
        raise ValueError(f"Expected a finite reward or -inf, got {value} for {row}: check the reward.")
    return rewards


def look_ahead(
    reward: Reward,
    denoiser: Model,
    x: Int[Tensor, "n l"],
    t: Float[Tensor, ""],
    *,
    y: Int[Tensor, " n"] | None,
    clamp: Int[Tensor, "n l"] | None,
    generator: torch.Generator | None,
    draws: int = 1,
) -> Float[Tensor, "draws n"]:
    """The rewards of where each row goes: of draws from the denoiser's p(x_0 | x_t), at t = 0 of `x` itself, once."""
    if t == 0:
        return score(reward, x)[None]
    log_probs = evaluate(denoiser, x, t.to(x.device).expand(len(x)), y=y)
    if log_probs.shape[:-1] != x.shape:
        raise ValueError(
            f"Expected the denoiser to return ({', '.join(map(str, x.shape))}, vocabulary), "
            f"got {tuple(log_probs.shape)}."
        )
    drawn = (hold(sample_categorical(log_probs, generator), clamp) for _ in range(draws))
    return torch.stack([score(reward, x0) for x0 in drawn])


def choose(rewards: Float[Tensor, "b k"], gamma: float | int, generator: torch.Generator | None) -> Int[Tensor, " b"]:
    """One of each row's candidates, with probability proportional to exp(gamma r); the best (first) for gamma = inf.

    Where all are impossible, each is as likely as the next.
    """
    if gamma == math.inf:
        return rewards.argmax(-1)
    hopeless = (rewards == -math.inf).all(-1, keepdim=True)
    return sample_categorical((gamma * rewards).masked_fill(hopeless, 0.0), generator)
