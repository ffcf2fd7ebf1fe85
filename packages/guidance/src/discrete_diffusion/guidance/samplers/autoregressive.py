"""Left-to-right sampling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from discrete_diffusion.guidance.constraints import Allowed
from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Model, evaluate
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.state import State
from discrete_diffusion.guidance.samplers.wrapping import Wrapper, fold
from discrete_diffusion.guidance.searches.search import Search


def autoregressive(
    model: Model,
    xt: Int[Tensor, "b l"],
    *,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: torch.Generator | None = None,
    use_at: bool = False,
) -> Iterator[State]:
    """Yield every state of left-to-right sampling: x_i ~ p(x_i | x_{<i}, y) for i = 0, 1, ..., l - 1.

    The model has a denoiser's signature, (x, t, *, y, at), and returns log p(x_i | x_{<i}, y) for every i, each from
    the tokens to its left alone, so that whatever wraps a denoiser wraps it too. t is the share of positions still to
    draw, 1 - i / l. There are l + 1 states, the first is `xt` with the clamped tokens in place. Columns that are
    clamped in every row cost no evaluation. Runs without gradients.

    With `use_at` the model is told which column is wanted: `at` is true there alone, in the rows that are free. A model
    that keeps the keys and values of what it has read then reads each token once. Wrappers hand `at` on, so that
    temperature and truncation go around the model: `TopK(model, 1)` is greedy decoding.

    Clamping is exact where the given tokens come first (a prompt). Elsewhere it is a heuristic: what was drawn
    before a given token knows nothing of it.

    Args:
        model: anything that returns log p(x_i | x_{<i}, y), (b, l, v).
        xt: tokens to start from; what they are is of no consequence to a causal model.
        y: labels, handed to the model.
        clamp: the token each position must hold, -1 where it is free.
        generator: where the randomness comes from, torch's default generator if None.
        use_at: ask the model for the wanted column alone; for models that take `at`.

    Raises:
        ValueError: `clamp` is malformed (at once), or the model returns the wrong shape (on iterating).
    """
    check_clamp(clamp, xt)
    return _positions(model, xt, y, clamp, generator, use_at)


def _positions(
    model: Model,
    xt: Int[Tensor, "b l"],
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: torch.Generator | None,
    use_at: bool,
) -> Iterator[State]:
    x = hold(xt, clamp)
    b, length = x.shape
    free = torch.ones_like(x, dtype=torch.bool) if clamp is None else clamp < 0
    wanted = free.any(0).tolist()
    column = torch.arange(length, device=x.device)
    yield State(1.0, x)
    for i in range(length):
        if wanted[i]:
            with torch.no_grad():
                t = torch.full((b,), 1 - i / length, device=x.device)
                at = free & (column == i)
                rows = evaluate(model, x, t, y=y, at=at) if use_at else _select(evaluate(model, x, t, y=y), at)
                x = x.masked_scatter(at, sample_categorical(rows, generator))
        yield State(1 - (i + 1) / length, x)


def _select(log_probs: Tensor, at: Tensor) -> Tensor:
    if log_probs.shape[:-1] != at.shape:
        raise ValueError(
            f"Expected the model to return ({', '.join(map(str, at.shape))}, vocabulary), got {tuple(log_probs.shape)}."
        )
    return log_probs[at]


@dataclass(frozen=True)
class AutoregressiveSampler:
    """From left to right, one token at a time; guidance on the denoiser and on the kernel is one and the same."""

    bos_id: int

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
        """Yield every state; the last is the sample."""
        b, length = shape
        model = fold(on_hidden, denoiser)
        if allowed is not None:
            model = Allowed(model, allowed.to(device))
        model = fold(on_kernel, fold(on_denoiser, model))
        run = partial(autoregressive, model, use_at=True)
        xt = torch.full((b if search is None else search.rows(b), length), self.bos_id, device=device)
        walk = run if search is None else partial(search, run)
        return walk(xt, y=y, clamp=clamp, generator=generator)
