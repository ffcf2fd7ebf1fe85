"""Likelihood of validation data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.eval import Likelihood
from discrete_diffusion.evaluator.domains.domain import domain_class
from discrete_diffusion.evaluator.ranks import ALONE, Ranks
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
from discrete_diffusion.processes import (
    AutoregressiveNLL,
    ContinuousNELBO,
    CrossEntropy,
    DiscreteNELBO,
    Objective,
    Process,
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
    ranks: Ranks = ALONE,
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
        ranks: The processes that share the batches.
    """
    objective, denoiser = checkpoint.objective(), checkpoint.denoiser()
    generator = torch.Generator().manual_seed(seed)
    pad_id = checkpoint.tokenizer.pad_token_id
    drawing = None if ranks.count == 1 else _without_losses(objective)
    measured = []
    with torch.no_grad():
        for number, start in enumerate(range(0, len(rows), batch_size)):
            batch = rows[start : start + batch_size]
            if (number if drawing else 0) % ranks.count != ranks.rank:
                if drawing is not None:
                    # The noise of a batch follows that of the batches before.
                    for _ in range(repeats):
                        drawing.terms(_no_prediction, batch["input_ids"], generator=generator)
                continue
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
            measured.append((number, Likelihood.of_batch(sum(parts.values()), tokens.numpy(), parts)))
    return sum(ranks.collect(measured), Likelihood())


class _OnlyNoise(Process):
    """Process whose losses are zero: an objective of it draws the noise of `process`, and evaluates nothing."""

    def __init__(self, process: Process) -> None:
        self.process, self.schedule, self.vocab_size = process, process.schedule, process.vocab_size

    def corrupt(self, x0: torch.Tensor, t: torch.Tensor, *, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.process.corrupt(x0, t, generator=generator)

    def prior(self, shape: tuple[int, ...], *, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.process.prior(shape, generator=generator)

    def log_noise(self, like: torch.Tensor) -> torch.Tensor:
        return self.process.log_noise(like)

    def log_x0(self, logits: torch.Tensor, xt: torch.Tensor) -> torch.Tensor:
        return self.process.log_x0(logits, xt)

    def _zero(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        _, x0, *_ = args
        return torch.zeros(x0.shape)

    prior_loss = diffusion_loss = step_loss = cross_entropy = _zero


class _NoNoise:
    """Objective without randomness."""

    def terms(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""


def _no_prediction(xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.zeros(0)


def _without_losses(objective: Objective) -> Any:
    """Return an objective that draws the same noise without a network, or None for a class of the user."""
    if isinstance(objective, AutoregressiveNLL):
        return _NoNoise()
    if isinstance(objective, (ContinuousNELBO, DiscreteNELBO, CrossEntropy)):
        return replace(objective, process=_OnlyNoise(objective.process))
    return None


def check_orders(names: Sequence[str], checkpoint: Checkpoint) -> None:
    """Raise unless the model has a likelihood under each of these orders.

    Raises:
        ValueError: If an order is unknown, or the model is not one of masked diffusion.
    """
    unknown = [name for name in names if name not in ORDERS]
    if unknown:
        raise ValueError(f"Expected `likelihood_orders` among {', '.join(ORDERS)}, got {', '.join(map(str, unknown))}.")
    if names and not isinstance(checkpoint.process, MaskingNoise):
        raise ValueError("Expected no `likelihood_orders`: only masked diffusion reveals tokens in an order.")


def measure_order_likelihood(
    checkpoint: Checkpoint,
    rows: Any,
    order: Order,
    *,
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], None],
    ranks: Ranks = ALONE,
) -> tuple[Likelihood, float]:
    """Return the exact likelihood under the sampler that reveals tokens in an order, and its cost (DUEL, 2603.01367).

    Args:
        checkpoint: The model, of masked diffusion.
        rows: Data set with `input_ids` and perhaps `label`.
        order: Deterministic order.
        batch_size: Rows in a forward pass.
        device: Device of the model.
        advance: Called with the number of rows after each batch.
        ranks: The processes that share the batches.

    Returns:
        The likelihood, and the network evaluations for each sequence.
    """
    process = checkpoint.process
    assert isinstance(process, MaskingNoise)
    network = CountEvaluations(checkpoint.network)
    denoiser, time = checkpoint.denoiser(network), OrderSampler(process, order).time
    measured, pad_id = [], checkpoint.tokenizer.pad_token_id
    for number, start in ranks.share(range(0, len(rows), batch_size)):
        batch = rows[start : start + batch_size]
        x0 = batch["input_ids"].to(device)
        y = batch["label"].to(device) if "label" in batch else None
        nats = -order_log_likelihood(denoiser, x0, order, mask_id=process.mask_id, time=time, y=y)
        tokens = torch.full((len(x0),), x0.shape[1]) if pad_id is None else (x0 != pad_id).sum(-1).cpu()
        measured.append((number, Likelihood.of_batch(nats.double().cpu().numpy(), tokens.numpy())))
        advance(len(x0))
    return sum(ranks.collect(measured), Likelihood()), sum(ranks.gather(network.rows)) / len(rows)


def counted_in(checkpoint: Checkpoint, rows: Any) -> tuple[str, int]:
    """Return the unit in which bits are reported, and the number of units in `rows`.

    Text counts characters and images count channels of pixels; other data count tokens.
    """
    ids, pad_id = rows["input_ids"][:], checkpoint.tokenizer.pad_token_id
    unit = domain_class(checkpoint.config["data"]["kind"]).unit
    if unit == "character":
        return unit, sum(map(len, decode(checkpoint.tokenizer, ids)))
    return unit, ids.numel() if pad_id is None else int((ids != pad_id).sum())
