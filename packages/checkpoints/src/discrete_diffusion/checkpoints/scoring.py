"""Likelihoods of single sequences under a checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.datasets import Padded, RowChange
from discrete_diffusion.datasets.encoding import encode
from discrete_diffusion.guidance import AncestralSampler, Order, OrderSampler, SampleStreams, order_log_likelihood
from discrete_diffusion.processes import Absorbing, AutoregressiveNLL, ContinuousNELBO, CrossEntropy, Objective
from discrete_diffusion.schedules import RowGenerators, StratifiedTimes


@dataclass(frozen=True, eq=False)
class Scores:
    """Negative log-likelihoods of sequences.

    Attributes:
        nats: -log p(x) of each sequence in nats, or an unbiased estimate of a bound above it; NaN for a string that
            cannot be scored.
        standard_error: Standard error of each estimate; zero where the value is exact.
        tokens: Tokens of each sequence without padding; zero for a string that cannot be scored.
        per_token: Share of each position in `nats`, padding included; None unless requested, or with an `order`.
        exact: Whether `nats` is -log p(x) itself.
        changes: Strings that could not be scored, and why.
    """

    nats: Float[Tensor, " n"]
    standard_error: Float[Tensor, " n"]
    tokens: Int[Tensor, " n"]
    per_token: Float[Tensor, "n l"] | None
    exact: bool
    changes: tuple[RowChange, ...] = ()


class Scorer:
    """Negative log-likelihoods of strings, batch by batch.

    The value of a string depends on the seed and the string's index alone, up to rounding in the network: neither on
    `batch_size` nor on the other strings. Each draw of time and noise has a seed of 32 bits. Times are stratified: the
    draws of a string share [t_min, 1] in pairs, which about halves the variance at 8 draws.

    Args:
        checkpoint: The model.
        strings: Sequences, as the model's tokenizer reads them; an empty string is not scored.
        y: Label of each, or its numbers in standard units; by default none.
        draws: Draws of time and noise for each sequence, >= 2 for a standard error.
        order: Deterministic order of revealing, for masked diffusion.
        per_token: Whether to keep the share of each position.
        seed: Seed of the draws, in [0, 2^64).
        batch_size: Sequences in a forward pass; each draw counts.

    Attributes:
        rows: Index of each string that can be scored.
        changes: Strings that cannot, and why.
        exact: Whether the values are -log p(x) itself.
        size: Strings in a batch.

    Raises:
        ValueError: If `draws` or `batch_size` < 1, `order` does not fit the model, or no string can be scored.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        strings: Sequence[str],
        *,
        y: Int[Tensor, " n"] | Float[Tensor, "n m"] | None = None,
        draws: int = 64,
        order: Order | None = None,
        per_token: bool = False,
        seed: int = 0,
        batch_size: int = 256,
    ) -> None:
        for name, value in (("draws", draws), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"Expected `{name}` >= 1, got {value}.")
        self._objective, self._denoiser, self._order = checkpoint.objective(), checkpoint.denoiser(), order
        self.exact = order is not None or isinstance(self._objective, AutoregressiveNLL)
        sampler = checkpoint.sampler()
        self._process = sampler.process if isinstance(sampler, AncestralSampler) else None
        if order is not None and not isinstance(self._process, Absorbing):
            raise ValueError("Expected no `order`: only masked diffusion reveals tokens in one.")
        self._device = next(checkpoint.network.parameters()).device
        self._ids, self.rows, self.changes = encode_readable(checkpoint, strings)
        self._pad_id, self._count, self._y = checkpoint.tokenizer.pad_token_id, len(strings), y
        self._per_token, self._seed, self._passes = per_token and order is None, seed, batch_size
        self._draws = 1 if self.exact else draws
        stratifies = isinstance(self._objective, (ContinuousNELBO, CrossEntropy))
        self._strata = _strata(self._draws) if stratifies else [range(self._draws)]
        self.size = max(1, batch_size // self._draws)

    def batches(self, start: int = 0) -> list[range]:
        """Return the batches of the strings that can be scored, from number `start` on."""
        count = len(self.rows)
        return [range(first, min(first + self.size, count)) for first in range(start, count, self.size)]

    @torch.no_grad()
    def __call__(self, batch: range) -> Scores:
        """Return the scores of a batch."""
        own = self.rows[batch.start : batch.stop]
        x0 = self._ids[batch.start : batch.stop].to(self._device)
        y = None if self._y is None else self._y[own].to(self._device)
        tokens = torch.full((len(x0),), x0.shape[1]) if self._pad_id is None else (x0 != self._pad_id).sum(-1).cpu()
        if self._order is not None:
            assert isinstance(self._process, Absorbing)
            time = OrderSampler(self._process, self._order).time
            nats = order_log_likelihood(self._denoiser, x0, self._order, mask_id=self._process.mask_id, time=time, y=y)
            return Scores(-nats.cpu().double(), torch.zeros(len(x0)).double(), tokens, None, self.exact)
        totals, shares = self._estimates(own, x0, y)
        error = torch.zeros(len(x0)).double() if self.exact else self._standard_error(totals)
        return Scores(totals.mean(1), error, tokens, shares, self.exact)

    def merged(self, parts: Sequence[Scores]) -> Scores:
        """Return the scores of all strings from those of all batches in their order."""
        nats, error = torch.full((self._count,), torch.nan).double(), torch.zeros(self._count).double()
        tokens, shares = torch.zeros(self._count, dtype=torch.int64), None
        nats[self.rows] = torch.cat([part.nats for part in parts])
        error[self.rows] = torch.cat([part.standard_error for part in parts])
        tokens[self.rows] = torch.cat([part.tokens for part in parts])
        if self._per_token:
            own = torch.cat([part.per_token for part in parts if part.per_token is not None])
            shares = torch.full((self._count, own.shape[1]), torch.nan).double()
            shares[self.rows] = own
        return Scores(nats, error, tokens, shares, self.exact, self.changes)

    def _estimates(
        self, own: Int[Tensor, " b"], x0: Int[Tensor, "b l"], y: Tensor | None
    ) -> tuple[Float[Tensor, "b draws"], Float[Tensor, "b l"] | None]:
        """Return the estimate of each draw, and the mean over draws of the share of each position."""
        count = len(x0) * self._draws
        row = torch.arange(len(x0)).repeat_interleave(self._draws)
        draw = torch.arange(self._draws).repeat(len(x0))
        # A stream for each draw gives the seed of all its random numbers.
        seeds = (SampleStreams(self._seed, own[row], draw).uniform((count, 1))[:, 0] * 2**32).long().tolist()
        totals = torch.zeros(count, dtype=torch.float64)
        shares = torch.zeros(x0.shape, dtype=torch.float64) if self._per_token else None
        for start in range(0, count, self._passes):
            now = slice(start, start + self._passes)
            at = row[now].to(self._device)
            objective, generator = self._stratified(draw[now]), RowGenerators(seeds[now])
            terms = objective.terms(self._denoiser, x0[at], None if y is None else y[at], generator=generator)
            estimates = terms.total.cpu().double()
            totals[now] = estimates.sum(-1)
            if shares is not None:
                shares.index_add_(0, row[now], estimates / self._draws)
        return totals.reshape(len(x0), self._draws), shares

    def _stratified(self, draw: Int[Tensor, " n"]) -> Objective:
        """Return the objective with times in the strata of these draws."""
        if not isinstance(self._objective, (ContinuousNELBO, CrossEntropy)):
            return self._objective
        bounds = torch.tensor([(one.start, one.stop) for one in self._strata for _ in one])[draw] / self._draws
        times = StratifiedTimes(bounds[:, 0], bounds[:, 1], t_min=self._objective.times.t_min)
        return replace(self._objective, times=times)

    def _standard_error(self, totals: Float[Tensor, "b draws"]) -> Float[Tensor, " b"]:
        """Return the standard error of the mean over draws, NaN for one draw."""
        if self._draws == 1:
            return totals.new_full((len(totals),), torch.nan)
        # A stratum with n of N draws has the weight n / N.
        variance = sum(totals[:, one.start : one.stop].var(1) * len(one) for one in self._strata)
        assert isinstance(variance, Tensor)
        return variance.sqrt() / self._draws


def _strata(draws: int) -> list[range]:
    """Return the draws of each stratum: two, whose difference gives its variance, and three in the last if need be."""
    starts = list(range(0, max(1, draws - 1), 2))
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], draws], strict=True)]


def score(
    checkpoint: Checkpoint,
    strings: Sequence[str],
    *,
    y: Int[Tensor, " n"] | Float[Tensor, "n m"] | None = None,
    draws: int = 64,
    order: Order | None = None,
    per_token: bool = False,
    seed: int = 0,
    batch_size: int = 256,
    advance: Callable[[int], None] = lambda rows: None,
) -> Scores:
    """Return the negative log-likelihood of each string.

    Diffusion models give a bound, -log p(x) <= E[terms], estimated by the mean over `draws` of time and noise. Left-to-
    right models give -log p(x) itself in one pass. With `order`, masked diffusion gives -log p(x) of the sampler that
    reveals tokens in that order (DUEL, arXiv 2603.01367), at as many evaluations as it makes steps.

    The value of a string depends on the seed and the string's index alone, up to rounding in the network; see `Scorer`.

    Args:
        checkpoint: The model.
        strings: Sequences, as the model's tokenizer reads them; an empty string is not scored.
        y: Label of each, or its numbers in standard units; by default none.
        draws: Draws of time and noise for each sequence, >= 2 for a standard error.
        order: Deterministic order of revealing, for masked diffusion.
        per_token: Whether to keep the share of each position.
        seed: Seed of the draws.
        batch_size: Sequences in a forward pass; each draw counts.
        advance: Called after each batch with its number of sequences.

    Raises:
        ValueError: If `draws` or `batch_size` < 1, `order` does not fit the model, or no string can be scored.
    """
    scorer = Scorer(
        checkpoint, strings, y=y, draws=draws, order=order, per_token=per_token, seed=seed, batch_size=batch_size
    )
    parts = []
    for batch in scorer.batches():
        parts.append(scorer(batch))
        advance(len(batch))
    return scorer.merged(parts)


def encode_readable(
    checkpoint: Checkpoint, strings: Sequence[str]
) -> tuple[Int[Tensor, "m l"], Int[Tensor, " m"], tuple[RowChange, ...]]:
    """Return the tokens and positions of the strings that fit the model, and the reasons why others do not.

    Args:
        checkpoint: The model.
        strings: Sequences, as the model's tokenizer reads them.

    Raises:
        ValueError: If all strings are blank.
    """
    layout = build(checkpoint.config["data"].get("layout", {}))
    padded = Padded("drop", special_tokens=layout.special_tokens if isinstance(layout, Padded) else True)
    positions = np.array([i for i, string in enumerate(strings) if string], dtype=np.int64)
    if not len(positions):
        raise ValueError(f"Expected a string to score, got {len(strings)} that are blank.")
    encoded = encode(
        pa.chunked_array([[strings[i] for i in positions]], pa.string()),
        checkpoint.tokenizer,
        padded,
        checkpoint.length,
        allow_unknown=False,
    )
    assert encoded.rows is not None
    ids = encoded.ids.combine_chunks().flatten().to_numpy().reshape(len(encoded.ids), -1)
    changes = [change.numbered(positions + 1) for change in encoded.changes]
    blank = np.setdiff1d(np.arange(len(strings)), positions)
    if len(blank):
        changes.insert(0, RowChange.of("dropped", "blank", blank))
    return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(positions[encoded.rows]), tuple(changes)
