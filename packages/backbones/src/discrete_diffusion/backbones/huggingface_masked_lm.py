"""Masked language models of Hugging Face as denoising networks."""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.huggingface import (
    apply_head,
    build_model,
    check_call,
    describe_model,
    find_head,
    is_foreign,
    load_model,
    store_tied_weights_once,
)


class HuggingFaceMaskedLM(nn.Module):
    """Network from a masked language model of transformers (BERT, RoBERTa, ModernBERT, ...).

    Such a model is trained to predict masked tokens, log p(x_0 | x_t), as masked diffusion requires. It does not read
    the noise level, because the number of masks determines it (arXiv 2406.07524, section 3.4), and it has no labels.
    Every position attends to all positions, padding included, as in :class:`DiT`.

    The code of published UDLM and MDLM checkpoints (run with `trust_remote_code`) has `timesteps` and `cond` arguments
    in `forward`. Such a model receives sigma as `timesteps` and y as `cond`. Its configuration defines by
    `time_conditioning` whether it uses the noise level, and by `cfg` and `cfg_num_classes` which labels it has.

    `encode` returns the last hidden states and `decode` their logits. Both exist if the head is a chain of modules
    after the body, as in most architectures.

    Args:
        config: Configuration of transformers (`model_type`, `hidden_size`, ...) for random weights, or a model.
        vocab_size: Size of the vocabulary, special tokens included; None keeps that of the model. Rows are added or
            removed at the end of the embedding table.

    Raises:
        ValueError: If the architecture is not a masked language model.
        ImportError: If the package transformers is not installed.
    """

    causal = False

    def __init__(self, config: Mapping[str, Any] | nn.Module, vocab_size: int | None = None) -> None:
        super().__init__()
        self.model = build_model("AutoModelForMaskedLM", config, _to_resize(config, vocab_size)).eval()
        self.vocab_size: int = _embedded(self.model) or self.model.config.vocab_size
        takes, settings = inspect.signature(self.model.forward).parameters, self.model.config
        self._takes = [name for name in ("timesteps", "cond") if name in takes]
        self.time_conditioning = "timesteps" in takes and bool(getattr(settings, "time_conditioning", True))
        labelled = "cond" in takes and getattr(settings, "cfg", False)
        self.num_classes: int | None = settings.cfg_num_classes if labelled else None
        self._head = None if self._takes else find_head(self.model)
        if self._head is not None:
            # Instance attributes, so that only networks that support these methods have them.
            self.encode, self.decode, self.decode_tokens = self._encode, self._decode, self._decode_tokens
        self._origin: dict[str, Any] | None = None
        store_tied_weights_once(self)
        self.train()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, vocab_size: int | None = None, trust_remote_code: bool = False
    ) -> "HuggingFaceMaskedLM":
        """Load the network with its weights, in float32, from a folder or the Hugging Face hub.

        Args:
            name_or_path: Folder, or name on the hub, from which the model is downloaded.
            vocab_size: As in the constructor.
            trust_remote_code: Run code that comes with the weights, for architectures outside transformers.

        Raises:
            ValueError: If no masked language model is found.
        """
        network = cls(load_model("AutoModelForMaskedLM", name_or_path, None, trust_remote_code), vocab_size)
        if is_foreign(network.model):
            network._origin = {"name_or_path": str(name_or_path), "trust_remote_code": True}
        return network

    @property
    def blueprint(self) -> dict[str, Any]:
        """JSON configuration that rebuilds the architecture; it names the folder only if the code is there."""
        target = f"discrete_diffusion.backbones.{type(self).__name__}"
        if self._origin is not None:
            return {"_target_": f"{target}.from_pretrained", "vocab_size": self.vocab_size, **self._origin}
        return {"_target_": target, "vocab_size": self.vocab_size, "config": describe_model(self.model)}

    def forward(
        self,
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return the logits of p(x_0 | x_t).

        Args:
            xt: Token ids in [0, ``vocab_size``).
            sigma: Noise levels, used if the model has `timesteps`.
            y: Labels in [0, ``num_classes``], for a model with labels; None is the null label ``num_classes``.
            at: If given, return only the logits of the positions where it is true, in row-major order.

        Raises:
            ValueError: If `y` is given for a model without labels, or if there are more tokens than positions.
        """
        if self._head is not None:
            return self._decode(self._encode(xt, sigma, y), sigma, y, at)
        check_call(self.model, xt, y if self.num_classes is None else None)
        conditions: dict[str, Tensor] = {}
        if "timesteps" in self._takes:
            conditions["timesteps"] = sigma
        if self.num_classes is not None:
            conditions["cond"] = torch.full_like(xt[:, 0], self.num_classes) if y is None else y
        logits = self.model(input_ids=xt, **conditions).logits
        return logits if at is None else logits[at]

    def _encode(self, xt: Tensor, sigma: Tensor, y: Tensor | None = None) -> Tensor:
        check_call(self.model, xt, y)
        return self.model.base_model(input_ids=xt)[0]

    def _decode(self, hidden: Tensor, sigma: Tensor, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        assert self._head is not None
        check_call(self.model, hidden, y)
        return apply_head(self.model, self._head, hidden if at is None else hidden[at])

    def _decode_tokens(self, hidden: Tensor, sigma: Tensor, y: Tensor | None = None) -> Tensor:
        return self._decode(hidden[:, None], sigma, y)[:, 0]


def _embedded(model: Any) -> int | None:
    """Return the number of rows of the embedding table, or None if the model does not expose it."""
    try:
        return model.get_input_embeddings().num_embeddings
    except (NotImplementedError, AttributeError):
        return None


def _to_resize(config: Any, vocab_size: int | None) -> int | None:
    """Return the new size of the embedding table, or None to keep it.

    Raises:
        ValueError: If `vocab_size` differs from that of a model whose table cannot be resized.
    """
    if vocab_size is None or not isinstance(config, nn.Module) or _embedded(config) is not None:
        return vocab_size
    known = cast(Any, config).config.vocab_size
    if known != vocab_size:
        raise ValueError(f"Expected `vocab_size` = {known}, the size of {type(config).__name__}, got {vocab_size}.")
    return None
