"""Protocols of models, samplers and searches: the types at every boundary of this package."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource


@runtime_checkable
class Denoiser(Protocol):
    """Log-probabilities of the clean tokens: log p(x_0 | x_t, y), normalized over the vocabulary, -inf if impossible.

    With `at`, only the rows of its n true positions are returned, (n, v), in row-major order; otherwise (b, l, v).

    A plain function is a denoiser, and may lack the keywords that it is never called with: `evaluate` passes `y` and
    `at` only if they are not None.
    """

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return log p(x_0 | x_t, y)."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """Reverse step, independent for each position: log p(x_s | x_t, y) with s < t, normalized, -inf if impossible.

    s = 0 is the data. A plain function is a kernel, and may lack `y` if it is never called with labels.
    """

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y)."""
        ...


Model: TypeAlias = Denoiser | Kernel
"""A denoiser or a kernel: the base of the methods that work at both levels."""

Wrapper: TypeAlias = Callable[[Any], Any]
"""A guidance method without its base: a function from a model to the guided model of the same kind.

For example `lambda base: ClassifierFree(base, 2.0, null_label)`, or a `functools.partial` of the class.
"""


@runtime_checkable
class LogLikelihood(Protocol):
    """Condition of classifier guidance: (x, t) -> log p(y | x_t) of one condition, one number per sequence.

    x are tokens (b, l). Methods that follow a gradient pass floats in their place, as their docstrings say: one-hots
    (b, l, v) or hidden states (b, l, d).
    """

    def __call__(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"], /) -> Float[Tensor, " b"]:
        """Return log p(y | x_t)."""
        ...


@runtime_checkable
class Latent(Denoiser, Protocol):
    """Denoiser that exposes its hidden states: `decode(encode(xt, t, y=y), xt, t, y=y, at=at)` equals the call."""

    def encode(
        self, xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], /, *, y: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """Return the hidden states of x_t."""
        ...

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return log p(x_0 | hidden), of the rows of `at` if given."""
        ...


Past: TypeAlias = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each block of a causal network, each (b, heads, tokens, head size)."""


@runtime_checkable
class Causal(Denoiser, Protocol):
    """Left-to-right model that can be continued: it reads new tokens given the keys and values of earlier ones."""

    @property
    def bos_id(self) -> int:
        """Token that precedes every sequence."""
        ...

    def extend(
        self,
        tokens: Int[Tensor, "b k"] | Float[Tensor, "b k v"],
        past: Past | None,
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b k d"], Past]:
        """Read tokens, or mixtures of tokens, that follow `past`; return their hidden states and the longer past."""
        ...

    def next_token(
        self, hidden: Float[Tensor, "b k d"], /, *, y: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b k v"]:
        """Return the log-probabilities of the token after each of those whose hidden states are given."""
        ...


@runtime_checkable
class HasBase(Protocol):
    """Model around another model.

    Every guidance method names the model that it wraps `base`, so that `is_left_to_right` finds the innermost one. A
    `torch.nn.Module` must declare `base` as a property: isinstance does not see submodules.
    """

    @property
    def base(self) -> Model:
        """The wrapped model."""
        ...


@runtime_checkable
class LeftToRight(Protocol):
    """Model that says whether it returns log p(x_i | x_{<i}) at each position, as an autoregressive model does."""

    @property
    def left_to_right(self) -> bool:
        """Whether each prediction depends on the tokens to its left alone."""
        ...


@runtime_checkable
class Noise(Protocol):
    """Noise distribution pi of a forward process: the part of a process that a sampler starts from."""

    def prior(self, shape: tuple[int, ...], *, generator: RandomSource = None) -> Int[Tensor, "..."]:
        """Draw tokens from pi, on the generator's device."""
        ...

    def log_noise(self, like: Float[Tensor, "..."]) -> Float[Tensor, " v"]:
        """Return log pi, in the dtype and on the device of `like`."""
        ...


@runtime_checkable
class Survival(Protocol):
    """Noise schedule: the share alpha(t) of tokens that are still data at time t, decreasing in t."""

    def alpha(self, t: Float[Tensor, "*shape"], /) -> Float[Tensor, "*shape"]:
        """Return the survival at time t."""
        ...

    def inverse(self, alpha: Float[Tensor, "*shape"], /) -> Float[Tensor, "*shape"]:
        """Return the time at which the survival is `alpha`."""
        ...


@runtime_checkable
class ScheduledNoise(Noise, Protocol):
    """Forward process with a noise schedule."""

    @property
    def schedule(self) -> Survival:
        """The noise schedule."""
        ...


@runtime_checkable
class MaskingNoise(ScheduledNoise, Protocol):
    """Forward process that replaces tokens by a mask."""

    @property
    def mask_id(self) -> int:
        """The token that stands for a mask."""
        ...


@runtime_checkable
class Lift(Protocol):
    """Function from a denoiser to a reverse kernel of its process, such as the ancestral one."""

    def __call__(self, *, denoiser: Denoiser) -> Kernel:
        """Return log p(x_s | x_t, y) of the denoiser."""
        ...


@runtime_checkable
class ConditionalLift(Protocol):
    """Function from a denoiser to log p(x_t^l | x_t without l), which has the signature of a denoiser."""

    def __call__(self, *, denoiser: Denoiser) -> Denoiser:
        """Return the conditional distributions of the denoiser."""
        ...


@runtime_checkable
class Reward(Protocol):
    """Score of clean tokens, one number per sequence: higher is better, -inf is impossible. It needs no gradient."""

    def __call__(self, x0: Int[Tensor, "n l"], /) -> Shaped[Tensor, " n"]:
        """Return r(x_0)."""
        ...


@runtime_checkable
class Rollout(Protocol):
    """Sampling run whose model and times are fixed: a function from starting tokens to states.

    For example `functools.partial(trajectory, kernel, times=times)` or `functools.partial(autoregressive, model)`.
    """

    def __call__(
        self,
        xt: Int[Tensor, "n l"],
        /,
        *,
        y: Int[Tensor, " n"] | None = None,
        clamp: Int[Tensor, "n l"] | None = None,
        generator: RandomSource = None,
    ) -> Iterator[State]:
        """Yield the states of all rows of `xt`."""
        ...


@runtime_checkable
class Search(Protocol):
    """Sampler of p(x_0) exp(gamma r(x_0)) / Z, exact or approximate: b independent searches, one sample each.

    A search spends several rows or candidates on each sample, and chooses among them by a reward.

    `xt` has `rows(b)` rows, each its own draw from the prior: row i * rows(1) + k is start k of search i. `y` and
    `clamp` have b rows. Each state holds one sequence of each search, (b, l); the last state holds the samples.
    """

    def rows(self, b: int) -> int:
        """Return the number of rows that `xt` must have for b searches."""
        ...

    def __call__(
        self,
        rollout: Rollout,
        xt: Int[Tensor, "n l"],
        *,
        kernel: Kernel | None = None,
        denoiser: Denoiser | None = None,
        times: Float[Tensor, " m"] | None = None,
        y: Int[Tensor, " b"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: RandomSource = None,
    ) -> Iterator[State]:
        """Yield the states of all searches.

        Args:
            rollout: The sampling run without a search.
            xt: Tokens to start from.
            kernel: Reverse kernel of a diffusion model, None for other models.
            denoiser: Denoiser of the same model, None for other models.
            times: Times of the steps, strictly descending to 0, None for other models.
            y: Labels, passed to the models.
            clamp: Token that each position must hold, -1 where it is free.
            generator: Source of randomness, torch's default generator if None.
        """
        ...


@runtime_checkable
class Sampler(Protocol):
    """Sampler of a denoiser under guidance. Implementations hold their own settings, such as a number of steps."""

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
        """Yield every state of the samples; the last one holds the samples themselves.

        Args:
            denoiser: The model.
            shape: Number of samples and their length, (b, l).
            y: Labels, passed to the denoiser.
            on_hidden: Methods that move the denoiser's hidden states, innermost first.
            on_denoiser: Methods around the denoiser, innermost first.
            on_kernel: Methods around the kernel, innermost first.
            search: Search that replaces the plain sampling run.
            allowed: Tokens that each position may hold; latents obey at every step. None allows all.
            clamp: Token that each position must hold, -1 where it is free.
            generator: Source of randomness, torch's default generator if None.
            device: Device of the samples.
        """
        ...


def evaluate(
    model: Model,
    xt: Int[Tensor, "b l"],
    *times: Float[Tensor, " b"],
    y: Int[Tensor, " b"] | None = None,
    at: Bool[Tensor, "b l"] | None = None,
) -> Float[Tensor, "*rows v"]:
    """Call a model, passing `y` and `at` only if they are not None, so that functions without them are models too."""
    keywords: dict[str, Any] = {}
    if y is not None:
        keywords["y"] = y
    if at is not None:
        keywords["at"] = at
    return model(xt, *times, **keywords)


def is_left_to_right(model: Model) -> bool:
    """Return whether the innermost model, found through every wrapper's `base`, is a left-to-right one."""
    while isinstance(model, HasBase):
        model = model.base
    return isinstance(model, LeftToRight) and bool(model.left_to_right)
