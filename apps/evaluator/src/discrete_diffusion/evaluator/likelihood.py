"""Likelihood of validation data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.eval import Likelihood
from discrete_diffusion.evaluator.domains.domain import domain_class
from discrete_diffusion.guidance import (
    CountEvaluations,
    HighestConfidence,
    LargestMargin,
    LowestEntropy,
    MaskingNoise,
    Order,
    OrderSampler,
    order_log_likelihood,
)

ORDERS: Mapping[str, type[Order]] = {
    "highest_confidence": HighestConfidence,
    "largest_margin": LargestMargin,
    "lowest_entropy": LowestEntropy,
}
"""Deterministic orders of revealing, by their names in the configuration."""


def measure_likelihood(
    checkpoint: Checkpoint,
    rows: Any,
    *,
    repeats: int,
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], None],
    seed: int = 0,
) -> Likelihood:
    """Return the bound on -log p(x | y) of rows, each given its label.

    The bound of a row is the mean over `repeats` draws of the noise. Every position counts toward the nats, padding
    included, since the model predicts it; tokens are counted without padding. Bits per token therefore depend on the
    padded length only through the cost of predicting the padding.

    Args:
        checkpoint: The model.
        rows: Data set with `input_ids` and perhaps `label`.
        repeats: Draws of the noise for each row.
        batch_size: Rows in a forward pass.
        device: Device of the model.
        advance: Called with the number of rows after each pass.
        seed: Seed of the noise.
    """
    objective, denoiser = checkpoint.objective(), checkpoint.denoiser()
    generator = torch.Generator().manual_seed(seed)
    likelihood, pad_id = Likelihood(), checkpoint.tokenizer.pad_token_id
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            x0 = batch["input_ids"].to(device)
            y = batch["label"].to(device) if "label" in batch else None
            sums: dict[str, torch.Tensor] = {}
            for _ in range(repeats):
                terms = objective.terms(denoiser, x0, y, generator=generator)
                for name, term in terms._asdict().items():
                    sums[name] = sums.get(name, 0.0) + term.double().sum(-1).cpu() / repeats
                advance(len(x0))
            tokens = torch.full((len(x0),), x0.shape[1]) if pad_id is None else (x0 != pad_id).sum(-1).cpu()
            parts = {name: term.numpy() for name, term in sums.items()}
            likelihood += Likelihood.of_batch(sum(parts.values()), tokens.numpy(), parts)
    return likelihood


def check_orders(names: Sequence[str], checkpoint: Checkpoint) -> None:
    """Raise unless the model has a likelihood under each of these orders.

    Raises:
        ValueError: If an order is unknown, or the model is not one of masked diffusion.
    """
    unknown = [name for name in names if name not in ORDERS]
    if unknown:
        raise ValueError(f"Expected `likelihood_orders` among {', '.join(ORDERS)}, got {', '.join(map(str, unknown))}.")
    if names and not isinstance(getattr(checkpoint.sampler(), "process", None), MaskingNoise):
        raise ValueError("Expected no `likelihood_orders`: only masked diffusion reveals tokens in an order.")


def measure_order_likelihood(
    checkpoint: Checkpoint,
    rows: Any,
    order: Order,
    *,
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> tuple[Likelihood, float]:
    """Return the exact likelihood under the sampler that reveals tokens in an order, and its cost (DUEL, 2603.01367).

    Args:
        checkpoint: The model, of masked diffusion.
        rows: Data set with `input_ids` and perhaps `label`.
        order: Deterministic order.
        batch_size: Rows in a forward pass.
        device: Device of the model.
        advance: Called with the number of rows after each batch.

    Returns:
        The likelihood, and the network evaluations for each sequence.
    """
    process = checkpoint.sampler().process  # type: ignore[attr-defined]
    assert isinstance(process, MaskingNoise)
    network = CountEvaluations(checkpoint.network)
    denoiser, time = checkpoint.denoiser(network), OrderSampler(process, order).time
    likelihood, pad_id = Likelihood(), checkpoint.tokenizer.pad_token_id
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        x0 = batch["input_ids"].to(device)
        y = batch["label"].to(device) if "label" in batch else None
        nats = -order_log_likelihood(denoiser, x0, order, mask_id=process.mask_id, time=time, y=y)
        tokens = torch.full((len(x0),), x0.shape[1]) if pad_id is None else (x0 != pad_id).sum(-1).cpu()
        likelihood += Likelihood.of_batch(nats.double().cpu().numpy(), tokens.numpy())
        advance(len(x0))
    return likelihood, network.rows / len(rows)


def counted_in(checkpoint: Checkpoint, rows: Any) -> tuple[str, int]:
    """Return the unit in which bits are reported, and the number of units in `rows`.

    Text counts characters and images count channels of pixels; other data count tokens.
    """
    ids, pad_id = rows["input_ids"][:], checkpoint.tokenizer.pad_token_id
    unit = domain_class(checkpoint.config["data"]["kind"]).unit
    if unit == "character":
        return unit, sum(map(len, decode(checkpoint.tokenizer, ids)))
    return unit, ids.numel() if pad_id is None else int((ids != pad_id).sum())
