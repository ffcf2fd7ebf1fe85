"""Likelihood of validation data."""

from collections.abc import Callable
from typing import Any

import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.eval import Likelihood


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
    """The bound on -log p(x | y) of `rows` (a data set of `input_ids` and perhaps `label`), each row given its label.

    A row's bound is the mean over `repeats` draws of the noise. Every position counts toward the nats, the padding's
    too, for it is modelled; tokens are counted without the padding. So bits per token do not depend on the length that
    sequences are padded to, except through what a model pays to predict the padding.

    Args:
        advance: told the number of passed rows.
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


def counted_in(checkpoint: Checkpoint, rows: Any) -> tuple[str, int]:
    """What the bits of such data are told for, and how many of them `rows` have: characters of text, pixels' channels.

    "token", and their number, for data of any other kind.
    """
    ids, pad_id = rows["input_ids"][:], checkpoint.tokenizer.pad_token_id
    kind = checkpoint.config["data"]["kind"]
    if kind == "text":
        return "character", sum(map(len, decode(checkpoint.tokenizer, ids)))
    return ("dimension" if kind == "images" else "token"), ids.numel() if pad_id is None else int((ids != pad_id).sum())
