"""Any sequence classifier of `transformers`, as a judge of generated strings."""

import os
from collections.abc import Sequence
from inspect import signature

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from discrete_diffusion.eval.metrics.pretrained import context_limit, pretrained

_LARGEST = 1_000_000  # tokenizers without a limit say 10^30


class SequenceClassifier:
    """Log-probabilities of the classes of strings, under a classifier from a folder or the Hugging Face hub.

    Sentiment, species, or what else it was trained on. Strings are read as its own tokenizer does, special tokens
    included, and truncated to what it can read.

    Args:
        name_or_path: A folder, or a name on the hub.
        batch_size: Strings at a time.
        device: Where the model runs.
        trust_remote_code: Whether code that comes with the model may run.
        max_length: Tokens that are read of a string; None is as many as the model can.

    Attributes:
        class_names: What each class is, by id, as the model's config has it.

    Raises:
        ValueError: If the model cannot be loaded, or reads less than `max_length`.
    """

    def __init__(
        self,
        name_or_path: str | os.PathLike[str],
        batch_size: int = 64,
        device: str = "cpu",
        trust_remote_code: bool = False,
        max_length: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"Expected `batch_size` >= 1, got {batch_size}.")
        self.model, self.tokenizer = pretrained(
            AutoModelForSequenceClassification, name_or_path, device=device, trust_remote_code=trust_remote_code
        )
        self.batch_size, self.device = batch_size, device
        limit = context_limit(self.model, max_length)
        # Some models have positions that their tokenizer keeps free, as RoBERTa's for the padding.
        told = self.tokenizer.model_max_length
        self.max_length = min(limit or told, told) if told < _LARGEST else limit
        # A model of no special tokens has nothing to read in an empty string.
        self.empty = "" if self.tokenizer("")["input_ids"] else self.tokenizer.pad_token
        self.class_names = tuple(str(self.model.config.id2label[i]) for i in range(self.model.config.num_labels))

    def __call__(self, strings: Sequence[str]) -> np.ndarray:
        """Judge strings; (n, classes), float64."""
        accepted = signature(self.model.forward).parameters
        found = [np.empty((0, len(self.class_names)))]
        for start in range(0, len(strings), self.batch_size):
            batch = self.tokenizer(
                [one or self.empty for one in strings[start : start + self.batch_size]],
                padding=True,
                truncation=self.max_length is not None,
                max_length=self.max_length,
                return_tensors="pt",
                verbose=False,
            )
            inputs = {name: value.to(self.device) for name, value in batch.items() if name in accepted}
            with torch.inference_mode():
                found.append(self.model(**inputs).logits.double().log_softmax(-1).cpu().numpy())
        return np.concatenate(found)
