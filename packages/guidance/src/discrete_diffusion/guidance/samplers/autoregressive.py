"""Left-to-right sampling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import invert_cdf
from discrete_diffusion.guidance.log_probs import check_log_probs
from discrete_diffusion.guidance.protocols import Denoiser, Search, Wrapper, evaluate
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.wrapping import fold, guide_denoiser
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform


def autoregressive(
    model: Denoiser,
    xt: Int[Tensor, "b l"],
    *,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
    use_at: bool = False,
) -> Iterator[State]:
    """Yield every state of left-to-right sampling: x_i ~ p(x_i | x_{<i}, y) for i = 0, 1, ..., l - 1.

    The model has the signature of a denoiser, (x, t, *, y, at), so every wrapper of denoisers works around it. It
    returns log p(x_i | x_{<i}, y) for every i, each computed from the tokens to its left alone. t is the share of
    positions still to draw, 1 - i / l. There are l + 1 states; the first is `xt` with the clamped tokens in place.
    Positions that are clamped in every row cost no evaluation. Gradients are disabled.

    With `use_at`, the model is called for the next position alone: `at` is true there, in the rows where it is free. A
    model that keeps keys and values then reads each token once. Wrappers pass `at` through, so temperature and
    truncation go around the model: `TopK(model, 1)` is greedy decoding.

    Clamping is exact for a prompt, where the clamped tokens come first. Elsewhere it is a heuristic: tokens drawn
    before a clamped token do not depend on it.

    Args:
        model: Left-to-right model: log p(x_i | x_{<i}, y), (b, l, v).
        xt: Tokens to start from; they do not affect the predictions of a left-to-right model.
        y: Labels, passed to the model.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.
        use_at: Call the model with `at`; for models that take it.

    Raises:
        ValueError: If `clamp` is malformed (at once), or the model returns the wrong shape (while iterating).
    """
    check_clamp(clamp, xt)
    return _positions(model, xt, y, clamp, generator, use_at)


def _positions(
    model: Denoiser,
    xt: Int[Tensor, "b l"],
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: RandomSource,
    use_at: bool,
) -> Iterator[State]:
    x = hold(xt, clamp)
    b, length = x.shape
    free = torch.ones_like(x, dtype=torch.bool) if clamp is None else clamp < 0
    to_draw = free.any(0).tolist()
    index = torch.arange(length, device=x.device)
    yield State(1.0, x)
    for i in range(length):
        uniform = draw_uniform((b,), generator, x.device)
        if to_draw[i]:
            with torch.no_grad():
                t = torch.full((b,), 1 - i / length, device=x.device)
                at = free & (index == i)
                log_probs = _next_token(model, x, t, y, at, use_at)
                x = x.masked_scatter(at, invert_cdf(log_probs, uniform[free[:, i]]))
        yield State(1 - (i + 1) / length, x)


def _next_token(
    model: Denoiser,
    x: Int[Tensor, "b l"],
    t: Float[Tensor, " b"],
    y: Int[Tensor, " b"] | None,
    at: Bool[Tensor, "b l"],
    use_at: bool,
) -> Float[Tensor, "n v"]:
    if use_at:
        return evaluate(model, x, t, y=y, at=at)
    return check_log_probs(evaluate(model, x, t, y=y), at.shape, "model")[at]


@dataclass(frozen=True)
class AutoregressiveSampler:
    """Sampler of a left-to-right model, one token at a time; see `autoregressive` and `Sampler`.

    There is no lift: methods around the kernel wrap the same model as methods around the denoiser, further out.

    Args:
        bos_id: Token that precedes every sequence.
    """

    bos_id: int

    def __call__(
        self,
        denoiser: Denoiser,
        shape: tuple[int, int],
        *,
        y: Int[Tensor, " b"] | None = None,
        on_hidden: Sequence[Wrapper] = (),
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        search: Search | None = None,
        allowed: Bool[Tensor, "l v"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: RandomSource = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state of the samples; see `Sampler` for the arguments."""
        b, length = shape
        model = guide_denoiser(denoiser, on_hidden, None if allowed is None else allowed.to(device), on_denoiser)
        rollout = partial(autoregressive, fold(on_kernel, model), use_at=True)
        if search is None:
            xt = torch.full((b, length), self.bos_id, device=device)
            return rollout(xt, y=y, clamp=clamp, generator=generator)
        xt = torch.full((search.rows(b), length), self.bos_id, device=device)
        return search(rollout, xt, y=y, clamp=clamp, generator=generator)
