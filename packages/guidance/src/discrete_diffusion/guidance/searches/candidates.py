"""Candidates of a search: their rows, their rewards, and the choice among them."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.log_probs import check_log_probs
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Reward, evaluate
from discrete_diffusion.guidance.samplers.clamping import hold
from discrete_diffusion.guidance.streams import RandomSource


def check_gamma(gamma: float | int, *, infinite: bool = False) -> None:
    """Raise unless `gamma` >= 0, and finite unless `infinite`.

    Raises:
        ValueError: If it is not.
    """
    if not (gamma >= 0 and (infinite or gamma < math.inf)):
        raise ValueError(f"Expected {'' if infinite else 'a finite '}`gamma` >= 0, got {gamma}.")


def require_diffusion(
    kernel: Kernel | None, denoiser: Denoiser | None, times: Float[Tensor, " m"] | None
) -> tuple[Kernel, Denoiser, Float[Tensor, " m"]]:
    """Return the kernel, denoiser and times of a diffusion model.

    Raises:
        ValueError: If one of them is None, as for a left-to-right model, or `times` does not end at 0.
    """
    if kernel is None or denoiser is None or times is None:
        raise ValueError(
            "Expected `kernel`, `denoiser` and `times` of a diffusion model, got None: search a left-to-right model "
            "with BestOf."
        )
    if times[-1] != 0:
        raise ValueError(f"Expected `times` to end at 0, got {float(times[-1])}: the reward scores clean tokens.")
    return kernel, denoiser, times


def repeat_rows(
    xt: Int[Tensor, "n l"], count: int, y: Int[Tensor, " b"] | None, clamp: Int[Tensor, "b l"] | None
) -> tuple[Int[Tensor, " n"] | None, Int[Tensor, "n l"] | None]:
    """Return `y` and `clamp` with the row of each search repeated for its `count` rows of `xt`.

    Raises:
        ValueError: If the numbers of rows do not match.
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
    """Return the rewards of clean tokens, in float64 on the CPU, where searches compute their weights.

    Raises:
        ValueError: If a reward is NaN or +inf, or there is not one for each sequence.
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
    denoiser: Denoiser,
    x: Int[Tensor, "n l"],
    t: Float[Tensor, ""],
    *,
    y: Int[Tensor, " n"] | None,
    clamp: Int[Tensor, "n l"] | None,
    generator: RandomSource,
    draws: int = 1,
) -> Float[Tensor, "draws n"]:
    """Return the rewards of `draws` predictions x0_hat ~ p(x_0 | x_t) for each row; at t = 0, of `x` itself, once.

    Raises:
        ValueError: If the denoiser returns the wrong shape, or the reward is invalid.
    """
    if t == 0:
        return score(reward, x)[None]
    log_probs = check_log_probs(evaluate(denoiser, x, t.to(x.device).expand(len(x)), y=y), x.shape, "denoiser")
    drawn = (hold(sample_categorical(log_probs, generator), clamp) for _ in range(draws))
    return torch.stack([score(reward, x0) for x0 in drawn])


def choose(rewards: Float[Tensor, "b k"], gamma: float | int, generator: RandomSource) -> Int[Tensor, " b"]:
    """Draw one candidate of each row with probability proportional to exp(gamma r), or take the best for gamma = inf.

    Of equally good candidates, gamma = inf takes the first. If all are impossible, they are equally likely.
    """
    if gamma == math.inf:
        return rewards.argmax(-1)
    hopeless = (rewards == -math.inf).all(-1, keepdim=True)
    return sample_categorical((gamma * rewards).masked_fill(hopeless, 0.0), generator)
