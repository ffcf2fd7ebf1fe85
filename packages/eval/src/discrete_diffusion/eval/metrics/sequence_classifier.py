"""Sequence classifiers of `transformers` as judges of generated strings."""

import os
from collections.abc import Sequence
from inspect import signature

import numpy as np
import torch
from jaxtyping import Float64
from transformers import AutoModelForSequenceClassification

from discrete_diffusion.eval.metrics.pretrained import context_limit, pretrained

_LARGEST = 1_000_000  # tokenizers without a limit report 10^30


class SequenceClassifier:
    """Log-probabilities of the classes of strings under any sequence classifier of `transformers`.

    The tokenizer of the classifier adds its special tokens and truncates strings to `max_length`.

    Args:
        name_or_path: Folder of the model, or its name on the Hugging Face hub.
        batch_size: Strings per batch.
        device: Device of the model.
        trust_remote_code: Whether code that comes with the model may run.
        max_length: Tokens after which a string is cut; by default the context of the model.

    Attributes:
        class_names: Name of each class, by id, from the config of the model.

    Raises:
        ValueError: If the model cannot be loaded, its context is shorter than `max_length`, or `batch_size` < 1.
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
        # Some tokenizers allow fewer tokens than the model has positions: RoBERTa reserves two for padding.
        allowed = self.tokenizer.model_max_length
        self.max_length = min(limit or allowed, allowed) if allowed < _LARGEST else limit
        # Without special tokens an empty string has no tokens, so it is read as padding.
        self.empty = "" if self.tokenizer("")["input_ids"] else self.tokenizer.pad_token
        self.class_names = tuple(str(self.model.config.id2label[i]) for i in range(self.model.config.num_labels))

    def __call__(self, strings: Sequence[str]) -> Float64[np.ndarray, "n classes"]:
        """Return the log-probabilities of the classes of each string."""
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
