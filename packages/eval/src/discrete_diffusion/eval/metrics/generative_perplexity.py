"""Generative perplexity: perplexity of generated text under a language model."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM

from discrete_diffusion.eval.metrics.pretrained import context_limit, pretrained


@dataclass(frozen=True)
class TextPerplexity:
    """Likelihood of texts under a language model.

    Args:
        nats: Negative log-likelihood of the counted tokens of each text, in nats.
        tokens: Number of counted tokens of each text.
    """

    nats: tuple[float, ...]
    tokens: tuple[int, ...]

    @property
    def perplexity(self) -> float | None:
        """Perplexity of all texts, exp(Σ_i nats_i / Σ_i tokens_i); None if no token is counted."""
        total = sum(self.tokens)
        return math.exp(math.fsum(self.nats) / total) if total else None

    @property
    def per_text(self) -> tuple[float | None, ...]:
        """Perplexity of each text; None if it has no counted token."""
        pairs = zip(self.nats, self.tokens, strict=True)
        return tuple(math.exp(nats / tokens) if tokens else None for nats, tokens in pairs)


class GenerativePerplexity:
    """Perplexity of texts under any causal language model.

        exp( -Σ_i Σ_l log p(w_l^i | w_{<l}^i) / Σ_i (L_i - 1) )

    over the tokens w of the model's own tokenizer. As in the code of arXiv 2406.07524 and 2412.10193, texts are read
    without special tokens, so the first token of a text is not counted. Two things differ from that code: texts of an
    incomplete batch are included, and a text longer than the model's context is read in windows that share one token,
    so that every token but the first is counted once.

    Args:
        name_or_path: Folder of the model, or its name on the Hugging Face hub, such as "gpt2-large".
        batch_size: Windows per batch.
        device: Device of the model.
        max_length: Tokens in a window; by default the context of the model, or whole texts if it has no limit.
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
            AutoModelForCausalLM, name_or_path, device=device, trust_remote_code=trust_remote_code
        )
        self.batch_size, self.device = batch_size, device
        self.max_length = context_limit(self.model, max_length)

    def __call__(self, texts: Sequence[str]) -> TextPerplexity:
        """Measure texts, from which `remove_special_tokens` should have removed the tokens of the generator."""
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        windows = [(i, window) for i, ids in enumerate(encoded) for window in self._windows(ids)]
        # Batches of windows of similar length need little padding.
        windows.sort(key=lambda pair: len(pair[1]), reverse=True)
        nats = [0.0] * len(encoded)
        for start in range(0, len(windows), self.batch_size):
            batch = windows[start : start + self.batch_size]
            for (i, _), value in zip(batch, self._nats([window for _, window in batch]), strict=True):
                nats[i] += value
        return TextPerplexity(tuple(nats), tuple(max(0, len(ids) - 1) for ids in encoded))

    def _windows(self, ids: list[int]) -> list[list[int]]:
        step = (self.max_length or max(2, len(ids))) - 1
        return [ids[start : start + step + 1] for start in range(0, len(ids) - 1, step)]

    @torch.inference_mode()
    def _nats(self, windows: list[list[int]]) -> list[float]:
        width = len(windows[0])
        lengths = torch.tensor([len(window) for window in windows], device=self.device)
        ids = torch.tensor([window + [0] * (width - len(window)) for window in windows], device=self.device)
        inside = torch.arange(width, device=self.device) < lengths[:, None]
        logits = self.model(input_ids=ids, attention_mask=inside.long()).logits[:, :-1].float()
        nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        return nll.masked_fill(~inside[:, 1:], 0.0).double().sum(-1).tolist()
