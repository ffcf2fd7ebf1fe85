"""MAUVE score of generated text against human text."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from mauve import compute_mauve
from transformers import AutoModel

from discrete_diffusion.eval.metrics.pretrained import context_limit, pretrained


def mauve_score(
    samples: Float[np.ndarray, "n d"],
    references: Float[np.ndarray, "m d"],
    *,
    buckets: int | None = None,
    scaling: float = 5.0,
    seed: int = 25,
) -> float:
    """Return MAUVE of the features of samples and references, in (0, 1]; 1 means that they are indistinguishable.

    MAUVE is the area under the divergence curve of the histograms of both sets over joint clusters (Pillutla et al.,
    arXiv 2102.01454), computed by the library of the authors. It depends on the numbers of samples and clusters, so
    compare equal numbers.

    Args:
        samples: Features of the samples, such as those of `TextFeatures`.
        references: Features of the references.
        buckets: Number of clusters; by default a tenth of the smaller set, and at least two.
        scaling: Constant c of the paper.
        seed: Seed of the clustering.

    Raises:
        ValueError: If the features differ in width, or a set has fewer than two rows.
    """
    samples, references = np.asarray(samples), np.asarray(references)
    if samples.ndim != 2 or references.ndim != 2 or samples.shape[1] != references.shape[1]:
        raise ValueError(f"Expected features (n, d) and (m, d), got {samples.shape} and {references.shape}.")
    if min(len(samples), len(references)) < 2:
        raise ValueError(f"Expected at least two samples and two references, got {len(samples)} and {len(references)}.")
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
    """Features of texts for MAUVE: the last hidden state of the last token under any causal language model.

    Args:
        name_or_path: Folder of the model, or its name on the Hugging Face hub, such as "gpt2-large".
        batch_size: Texts per batch.
        device: Device of the model.
        max_length: Tokens after which a text is cut; by default the context of the model.
        trust_remote_code: Whether code that comes with the model may run.

    Raises:
        ValueError: If the model cannot be loaded, its context is shorter than `max_length`, or `batch_size` < 1.
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

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Return the features of each text. A text without tokens is read as one token of padding."""
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        ids = [one[: self.max_length] or [self.tokenizer.pad_token_id] for one in encoded]
        parts = [self._features(ids[i : i + self.batch_size]) for i in range(0, len(ids), self.batch_size)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _features(self, ids: list[list[int]]) -> Float[np.ndarray, "b d"]:
        lengths = torch.tensor([len(one) for one in ids], device=self.device)
        width = int(lengths.max())
        padded = torch.tensor([one + [0] * (width - len(one)) for one in ids], device=self.device)
        inside = torch.arange(width, device=self.device) < lengths[:, None]
        hidden = self.model(input_ids=padded, attention_mask=inside.long()).last_hidden_state
        return hidden[torch.arange(len(ids), device=self.device), lengths - 1].float().cpu().numpy()
