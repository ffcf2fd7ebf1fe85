"""Likelihoods of single sequences under a checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.datasets import Padded, RowChange
from discrete_diffusion.datasets.encoding import encode
from discrete_diffusion.guidance import AncestralSampler, Order, OrderSampler, order_log_likelihood
from discrete_diffusion.processes import Absorbing, AutoregressiveNLL


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


@torch.no_grad()
def score(
    checkpoint: Checkpoint,
    strings: Sequence[str],
    *,
    y: Int[Tensor, " n"] | Float[Tensor, "n m"] | None = None,
    draws: int = 8,
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

    Args:
        checkpoint: The model.
        strings: Sequences, as the model's tokenizer reads them; an empty string is not scored.
        y: Label of each, or its numbers in standard units; by default none.
        draws: Draws of time and noise for each sequence, >= 2 for a standard error.
        order: Deterministic order of revealing, for masked diffusion.
        per_token: Whether to keep the share of each position.
        seed: Seed of the draws.
        batch_size: Sequences in a forward pass.
        advance: Called after each batch with its number of sequences.

    Raises:
        ValueError: If `draws` < 1, `order` does not fit the model, or no string can be scored.
    """
    if draws < 1:
        raise ValueError(f"Expected `draws` >= 1, got {draws}.")
    objective, denoiser = checkpoint.objective(), checkpoint.denoiser()
    exact = order is not None or isinstance(objective, AutoregressiveNLL)
    sampler = checkpoint.sampler()
    process = sampler.process if isinstance(sampler, AncestralSampler) else None
    if order is not None and not isinstance(process, Absorbing):
        raise ValueError("Expected no `order`: only masked diffusion reveals tokens in one.")
    device = next(checkpoint.network.parameters()).device
    ids, rows, changes = encode_readable(checkpoint, strings)
    pad_id, generator = checkpoint.tokenizer.pad_token_id, torch.Generator().manual_seed(seed)
    count = len(strings)
    nats, error = torch.full((count,), torch.nan, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    shares = torch.full((count, checkpoint.length), torch.nan).double() if per_token and order is None else None
    tokens = torch.zeros(count, dtype=torch.int64)
    for start in range(0, len(ids), batch_size):
        x0 = ids[start : start + batch_size].to(device)
        own = rows[start : start + batch_size]
        labels = None if y is None else y[own].to(device)
        tokens[own] = (torch.full((len(x0),), x0.shape[1]) if pad_id is None else (x0 != pad_id).sum(-1)).cpu()
        if order is not None:
            assert isinstance(process, Absorbing)
            exact_nats = order_log_likelihood(
                denoiser, x0, order, mask_id=process.mask_id, time=OrderSampler(process, order).time, y=labels
            )
            nats[own] = -exact_nats.cpu().double()
            advance(len(x0))
            continue
        passes = [
            objective.terms(denoiser, x0, labels, generator=generator).total.cpu().double()
            for _ in range(1 if exact else draws)
        ]
        totals = torch.stack(passes)
        nats[own] = totals.mean(0).sum(-1)
        if shares is not None:
            shares[own] = totals.mean(0)
        if len(passes) > 1:
            error[own] = totals.sum(-1).std(0) / len(passes) ** 0.5
        elif not exact:
            error[own] = torch.nan
        advance(len(x0))
    return Scores(nats, error, tokens, shares, exact, changes)


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
