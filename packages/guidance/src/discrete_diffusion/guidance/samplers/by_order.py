"""Masked sequences revealed in an order that the model chooses."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Denoiser, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, masking
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform, selected_rows


@runtime_checkable
class Order(Protocol):
    """Rule that selects the positions to reveal next.

    A rule reads the predictions at the masked positions and never the tokens that will be drawn. It selects at least
    one masked position in each row, and none that is revealed already. `deterministic` rules have a likelihood: see
    `order_log_likelihood`.
    """

    deterministic: ClassVar[bool]

    def __call__(
        self,
        log_probs: Float[Tensor, "n v"],
        masked: Bool[Tensor, "b l"],
        generator: RandomSource = None,
    ) -> Bool[Tensor, "b l"]:
        """Return the positions to reveal, given log p(x_0 | x_t) at the n masked positions in row-major order."""
        ...


@dataclass(frozen=True)
class RandomOrder:
    """Reveal `k` masked positions chosen uniformly at random.

    Raises:
        ValueError: If `k` < 1.
    """

    k: int = 1
    deterministic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_count(self.k)

    def __call__(
        self,
        log_probs: Float[Tensor, "n v"],
        masked: Bool[Tensor, "b l"],
        generator: RandomSource = None,
    ) -> Bool[Tensor, "b l"]:
        """Return `k` masked positions of each row."""
        scores = draw_uniform(masked.shape, generator, masked.device)
        return _best(scores.masked_fill(~masked, -math.inf), masked, self.k)


@dataclass(frozen=True)
class HighestConfidence:
    """Reveal the `k` positions whose likeliest token has the highest probability, max_v p(v).

    Some published codes call this order "low-confidence remasking". Of scores that agree to four decimals, the middle
    position is taken first, then the middles of both halves, and so on.

    Args:
        k: Positions revealed in each step.
        threshold: Probability from which a position is revealed as well, whatever `k` is; None for no threshold.

    Raises:
        ValueError: If `k` < 1 or `threshold` is not in (0, 1].
    """

    k: int = 1
    threshold: float | None = None
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_count(self.k)
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"Expected 0 < `threshold` <= 1, got {self.threshold}.")

    def __call__(
        self,
        log_probs: Float[Tensor, "n v"],
        masked: Bool[Tensor, "b l"],
        generator: RandomSource = None,
    ) -> Bool[Tensor, "b l"]:
        """Return the `k` most confident positions of each row, and those above the threshold."""
        scores = _scattered(log_probs.amax(-1), masked)
        best = _best(_ranked(scores), masked, self.k)
        return best if self.threshold is None else best | (scores >= math.log(self.threshold))


@dataclass(frozen=True)
class LargestMargin:
    """Reveal the `k` positions with the largest difference between the two highest probabilities.

    Raises:
        ValueError: If `k` < 1.
    """

    k: int = 1
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_count(self.k)

    def __call__(
        self,
        log_probs: Float[Tensor, "n v"],
        masked: Bool[Tensor, "b l"],
        generator: RandomSource = None,
    ) -> Bool[Tensor, "b l"]:
        """Return the `k` positions of each row with the largest margin."""
        top = log_probs.topk(2, -1).values.exp()
        return _best(_ranked(_scattered(top[:, 0] - top[:, 1], masked)), masked, self.k)


@dataclass(frozen=True)
class LowestEntropy:
    """Reveal the `k` positions whose prediction has the lowest entropy.

    Raises:
        ValueError: If `k` < 1.
    """

    k: int = 1
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_count(self.k)

    def __call__(
        self,
        log_probs: Float[Tensor, "n v"],
        masked: Bool[Tensor, "b l"],
        generator: RandomSource = None,
    ) -> Bool[Tensor, "b l"]:
        """Return the `k` positions of each row with the lowest entropy."""
        return _best(_ranked(_scattered(-_entropy(log_probs), masked)), masked, self.k)


@dataclass(frozen=True)
class EntropyBound:
    """Reveal as many positions at once as a bound on their dependence allows (EB sampler, arXiv 2505.24857).

    In ascending order of entropy H, the largest set U with

        sum over U of H - max over U of H <= gamma,

    which bounds the divergence between drawing the tokens of U independently and jointly. At least one position is
    revealed; gamma = 0 reveals one, and those that are certain.

    Args:
        gamma: Bound in nats, >= 0.

    Raises:
        ValueError: If `gamma` is negative.
    """

    gamma: float | int
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"Expected `gamma` >= 0, got {self.gamma}.")

    def __call__(
        self,
        log_probs: Float[Tensor, "n v"],
        masked: Bool[Tensor, "b l"],
        generator: RandomSource = None,
    ) -> Bool[Tensor, "b l"]:
        """Return the largest set of each row within the bound."""
        entropy = _entropy(log_probs).clamp(min=0)
        scores = _scattered(-entropy, masked)
        order = _descending(_ranked(scores))
        ordered = scores.gather(-1, order)
        # In ascending order the largest entropy of a prefix is its last: the others are the sum before it.
        before = (-ordered).masked_fill(ordered == -math.inf, 0).cumsum(-1)
        within = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], -1) <= self.gamma
        within[:, 0] = True
        return torch.zeros_like(masked).scatter(-1, order, within) & masked


def by_order(
    denoiser: Denoiser,
    xt: Int[Tensor, "b l"],
    order: Order,
    *,
    mask_id: int,
    time: Callable[[Tensor], Tensor] = lambda share: share,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of a masked sequence that is revealed in the order that a rule selects.

    Each step asks the denoiser for the masked positions of the rows that have any, selects positions by `order`, and
    draws their tokens independently. A revealed or clamped token never changes, and no mask is left in the last state.
    The cost is one evaluation for each row and step with a mask.

    With one position a step and a denoiser of the exact conditionals every order gives the exact distribution. With a
    trained network orders by confidence repeat themselves: compare entropy and distinct n-grams beside quality.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        xt: Tokens to start from, masks where they are to be generated.
        order: Rule that selects the positions of each step.
        mask_id: Token that stands for a mask.
        time: From the share of masked positions of each row, (b,), to the time of the call of the denoiser; the
            share itself is the time of a log-linear schedule. Irrelevant to a network that reads no time.
        y: Labels, passed to the denoiser.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `clamp` is malformed (at once), or the denoiser returns the wrong shape or `order` selects no
            masked position (while iterating).
    """
    check_clamp(clamp, xt)
    return _reveal(denoiser, hold(xt, clamp), order, mask_id, time, y, generator)


@dataclass(frozen=True)
class OrderSampler(DiffusionSampler):
    """Sampler of masked diffusion that reveals positions in an order of the model's choice; see `by_order`.

    Args:
        process: Masked diffusion.
        order: Rule that selects the positions of each step.

    Raises:
        ValueError: If `process` has no masks.
    """

    process: ScheduledNoise
    order: Order

    def __post_init__(self) -> None:
        masking(self.process, "OrderSampler")

    def time(self, share: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the time at which this share of the tokens is masked."""
        return self.process.schedule.inverse(1 - share)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("OrderSampler")
        process = masking(self.process, "OrderSampler")
        return Run(partial(by_order, model.denoiser, order=self.order, mask_id=process.mask_id, time=self.time))


def order_log_likelihood(
    denoiser: Denoiser,
    x0: Int[Tensor, "b l"],
    order: Order,
    *,
    mask_id: int,
    time: Callable[[Tensor], Tensor] = lambda share: share,
    y: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, " b"]:
    """Return the exact log-likelihood of sequences under `by_order` with a deterministic rule (DUEL, arXiv 2603.01367).

        log p(x) = sum over steps k, sum over positions l in A_k, of log p(x^l | tokens revealed before step k),

    where A_k are the positions that the rule reveals in step k. The rule sees revealed tokens and predictions alone, so
    that the probabilities of all sequences sum to one.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        x0: Sequences without masks.
        order: Deterministic rule.
        mask_id: Token that stands for a mask.
        time: As for `by_order`.
        y: Labels, passed to the denoiser.

    Returns:
        Log-likelihood in nats, in the dtype of the predictions.

    Raises:
        ValueError: If `order` is random, or `x0` holds a mask.
    """
    if not order.deterministic:
        raise ValueError(f"Expected a deterministic order, got {order}: a random one has no closed likelihood.")
    if bool((x0 == mask_id).any()):
        raise ValueError(f"Expected sequences without masks, got token {mask_id} in `x0`.")
    x = torch.full_like(x0, mask_id)
    total: Tensor | None = None
    with torch.no_grad():
        while bool((x == mask_id).any()):
            rows, log_probs, chosen = _predict(denoiser, x, order, mask_id, time, y, None)
            tokens = x0[rows][chosen]
            picked = log_probs[chosen[x[rows] == mask_id]].gather(-1, tokens[:, None])[:, 0]
            own = rows.nonzero()[:, 0].repeat_interleave(chosen.sum(1))
            total = picked.new_zeros(len(x)) if total is None else total
            total = total.index_add(0, own, picked)
            x = x.masked_scatter(_spread(chosen, rows), tokens)
    return torch.zeros(len(x0)) if total is None else total


def _reveal(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    order: Order,
    mask_id: int,
    time: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    yield State(_share(x, mask_id), x)
    while bool((x == mask_id).any()):
        with torch.no_grad():
            rows, log_probs, chosen = _predict(denoiser, x, order, mask_id, time, y, generator)
            revealed = _spread(chosen, rows)
            tokens = sample_categorical(log_probs[chosen[x[rows] == mask_id]], generator, at=revealed)
            x = x.masked_scatter(revealed, tokens)
        yield State(_share(x, mask_id), x)


def _predict(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    order: Order,
    mask_id: int,
    time: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> tuple[Bool[Tensor, " b"], Float[Tensor, "n v"], Bool[Tensor, "m l"]]:
    """Return the rows with masks, the predictions at their masks, and the positions to reveal next.

    Raises:
        ValueError: If the denoiser ignores `at`, or `order` selects no masked position of a row, or another position.
    """
    rows = (x == mask_id).any(1)
    masked = x[rows] == mask_id
    t = time(masked.float().mean(1))
    log_probs = evaluate(denoiser, x[rows], t, y=None if y is None else y[rows], at=masked)
    if log_probs.ndim != 2 or len(log_probs) != int(masked.sum()):
        raise ValueError(
            f"Expected the denoiser to return ({int(masked.sum())}, vocabulary) for the positions of `at`, got "
            f"{tuple(log_probs.shape)}."
        )
    chosen = order(log_probs, masked, selected_rows(generator, rows))
    if bool((chosen & ~masked).any()) or not bool(chosen.any(1).all()):
        raise ValueError("Expected `order` to select at least one masked position of each row, and no other.")
    return rows, log_probs, chosen


def _share(x: Tensor, mask_id: int) -> float:
    """Return the largest share of masks in any row, the time of a state."""
    return float((x == mask_id).float().mean(1).max()) if len(x) else 0.0


def _spread(chosen: Bool[Tensor, "m l"], rows: Bool[Tensor, " b"]) -> Bool[Tensor, "b l"]:
    spread = torch.zeros(len(rows), chosen.shape[1], dtype=torch.bool, device=chosen.device)
    spread[rows] = chosen
    return spread


def _scattered(values: Float[Tensor, " n"], masked: Bool[Tensor, "b l"]) -> Float[Tensor, "b l"]:
    """Return the values of the masked positions in their places, -inf elsewhere."""
    return torch.full(masked.shape, -math.inf, dtype=values.dtype, device=values.device).masked_scatter(masked, values)


def _ranked(scores: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
    """Return scores to four decimals, so that a network's rounding does not order positions with equal predictions.

    A network with relative positions predicts the same at every position of a sequence of masks.
    """
    return scores.round(decimals=4)


def _best(scores: Float[Tensor, "b l"], masked: Bool[Tensor, "b l"], k: int) -> Bool[Tensor, "b l"]:
    """Return the `k` masked positions of each row with the highest scores."""
    return torch.zeros_like(masked).scatter(-1, _descending(scores)[:, :k], True) & masked


def _descending(scores: Float[Tensor, "b l"]) -> Int[Tensor, "b l"]:
    """Return the positions in descending order of their scores, equal ones apart from each other, the middle first.

    A network with relative positions cannot tell where in a sequence of masks it is, and predicts the mean over
    positions: its first token stands in the middle rather than at an end, and others drawn with it are far from it.
    """
    halving = _halving(scores.shape[-1]).to(scores.device)
    return halving[scores[:, halving].sort(dim=-1, descending=True, stable=True).indices]


@cache
def _halving(length: int) -> Int[Tensor, " l"]:
    """Return the positions of a sequence: the middle, the middles of its halves, and so on, breadth first."""
    parts, order = [(0, length)], []
    while parts:
        low, high = parts.pop(0)
        if low < high:
            middle = (low + high) // 2
            order.append(middle)
            parts += [(low, middle), (middle + 1, high)]
    return torch.tensor(order, dtype=torch.int64)


def _entropy(log_probs: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
    return -(log_probs.exp() * log_probs.masked_fill(log_probs == -math.inf, 0)).sum(-1)


def _check_count(k: int) -> None:
    if k < 1:
        raise ValueError(f"Expected `k` >= 1, got {k}.")
