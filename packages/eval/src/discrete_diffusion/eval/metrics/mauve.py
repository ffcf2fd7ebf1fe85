"""MAUVE: how close generated text is to human text."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from mauve import compute_mauve
from transformers import AutoModel

from discrete_diffusion.eval.metrics.pretrained import context_limit, pretrained


def mauve_score(
    samples: np.ndarray, references: np.ndarray, *, buckets: int | None = None, scaling: float = 5.0, seed: int = 25
) -> float:
    """MAUVE of samples and references given as features, in (0, 1], 1 where they cannot be told apart.

    The area under the divergence curve of the histograms of both over joint clusters (Pillutla et al., arXiv
    2102.01454), by the authors' library. It depends on how many samples and clusters there are: only the same
    numbers compare.

    Args:
        samples: Features (n, d), such as `TextFeatures` gives.
        references: Features (m, d).
        buckets: Clusters; None is a tenth of the smaller number, at least two.
        scaling: The constant c of the paper.
        seed: Of the clustering.

    Raises:
        ValueError: If the features do not match, or either set has fewer than two rows.
    """
    samples, references = np.asarray(samples), np.asarray(references)
    if samples.ndim != 2 or references.ndim != 2 or samples.shape[1] != references.shape[1]:
        raise ValueError(f"Expected features (n, d) and (m, d), got {samples.shape} and {references.shape}.")
    if min(len(samples), len(references)) < 2:
        raise ValueError(f"Expected two samples and references at least, got {len(samples)} and {len(references)}.")
    result = compute_mauve(
        p_features=samples,
        q_features=references,
        num_buckets="auto" if buckets is None else buckets,
        mauve_scaling_factor=scaling,
        seed=seed,
        verbose=False,
    )
    return float(result.mauve)


class TextFeatures:
    """The last hidden state of each text's last token, under any causal language model: what MAUVE compares.

    Args:
        name_or_path: A folder, or a name on the Hugging Face hub, such as "gpt2-large".
        batch_size: Texts at a time.
        device: Where the model runs.
        max_length: Tokens that are read of a text; None is the model's context.
        trust_remote_code: Whether code that comes with the model may run.

    Raises:
        ValueError: If the model cannot be loaded, or its context is shorter than `max_length`.
    """

    def __init__(
        self,
        name_or_path: str | os.PathLike[str],
        batch_size: int = 16,
        device: str = "cpu",
        max_length: int | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"Expected `batch_size` >= 1, got {batch_size}.")
        self.model, self.tokenizer = pretrained(
            AutoModel, name_or_path, device=device, trust_remote_code=trust_remote_code
        )
        self.batch_size, self.device = batch_size, device
        self.max_length = context_limit(self.model, max_length)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Read texts; (n, d). A text of no tokens is read as one token of padding."""
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        ids = [one[: self.max_length] or [self.tokenizer.pad_token_id] for one in encoded]
        parts = [self._features(ids[i : i + self.batch_size]) for i in range(0, len(ids), self.batch_size)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _features(self, ids: list[list[int]]) -> np.ndarray:
        lengths = torch.tensor([len(one) for one in ids], device=self.device)
        width = int(lengths.max())
        padded = torch.tensor([one + [0] * (width - len(one)) for one in ids], device=self.device)
        inside = torch.arange(width, device=self.device) < lengths[:, None]
        hidden = self.model(input_ids=padded, attention_mask=inside.long()).last_hidden_state
        return hidden[torch.arange(len(ids), device=self.device), lengths - 1].float().cpu().numpy()
