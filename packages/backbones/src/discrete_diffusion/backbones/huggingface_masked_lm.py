"""Any masked language model of Hugging Face as a denoiser's network."""

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
    """A masked language model of the package transformers (BERT, RoBERTa, ModernBERT, ...) as a network.

    It is trained on what masked diffusion asks for, log p(x_0 | x_t) at the positions that are masked, and is fed no
    noise level: the number of masks tells it (arXiv 2406.07524, section 3.4). It has no labels either. Every position
    is attended to, padding too, as in :class:`DiT`.

    A model whose `forward` takes `timesteps` or `cond`, as the code of published UDLM and MDLM checkpoints does (run it
    by `trust_remote_code`), is fed sigma as the one and y as the other; its configuration tells by `time_conditioning`
    whether it reads the first, and by `cfg` and `cfg_num_classes` which labels there are.

    `encode` returns the last hidden state and `decode` what the head makes of it. They exist where the head is a chain
    of modules behind the body, which most are.

    Args:
        config: The architecture, as a configuration of transformers (`model_type`, `hidden_size`, ...) for random
            weights, or as a model that is already built.
        vocab_size: Size of the vocabulary, special tokens included; None is the model's own. Rows of the table are
            added or cut off at its end.

    Raises:
        ValueError: An architecture that is no masked language model.
        ImportError: The package transformers is not installed.
    """

    causal = False

    def __init__(self, config: Mapping[str, Any] | nn.Module, vocab_size: int | None = None) -> None:
        super().__init__()
        self.model = build_model("AutoModelForMaskedLM", config, _to_resize(config, vocab_size)).eval()
        self.vocab_size: int = _embedded(self.model) or self.model.config.vocab_size
        takes, told = inspect.signature(self.model.forward).parameters, self.model.config
        self._takes = [name for name in ("timesteps", "cond") if name in takes]
        self.time_conditioning = "timesteps" in takes and bool(getattr(told, "time_conditioning", True))
        labelled = "cond" in takes and getattr(told, "cfg", False)
        self.num_classes: int | None = told.cfg_num_classes if labelled else None
        self._head = None if self._takes else find_head(self.model)
        if self._head is not None:
            # Instance attributes, so that a network has them only if they work.
            self.encode, self.decode = self._encode, self._decode
        self._origin: dict[str, Any] | None = None
        store_tied_weights_once(self)
        self.train()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, vocab_size: int | None = None, trust_remote_code: bool = False
    ) -> "HuggingFaceMaskedLM":
        """Return the network with the weights of a folder or of a model on the Hugging Face hub, in float32.

        Args:
            name_or_path: The folder, or the name on the hub, from where it is then downloaded.
            vocab_size: As for the class.
            trust_remote_code: Run the code that comes with the weights, for architectures that transformers lacks.

        Raises:
            ValueError: There is no masked language model.
        """
        network = cls(load_model("AutoModelForMaskedLM", name_or_path, None, trust_remote_code), vocab_size)
        if is_foreign(network.model):
            network._origin = {"name_or_path": str(name_or_path), "trust_remote_code": True}
        return network

    @property
    def blueprint(self) -> dict[str, Any]:
        """What rebuilds the architecture, as JSON: without the folder, unless the code is found there alone."""
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
        """Return logits of p(x_0 | x_t).

        Args:
            xt: Token ids in [0, ``vocab_size``).
            sigma: Noise levels, read where the model takes `timesteps`.
            y: Labels in [0, ``num_classes``] where there are any; None is the null label ``num_classes``.
            at: If given, logits of the positions where it is true alone, in row-major order.

        Raises:
            ValueError: A label for a model without labels, or more tokens than it has positions.
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


def _embedded(model: Any) -> int | None:
    """Rows of the model's table of tokens, None where it is not said to be one."""
    try:
        return model.get_input_embeddings().num_embeddings
    except (NotImplementedError, AttributeError):
        return None


def _to_resize(config: Any, vocab_size: int | None) -> int | None:
    """The size to give the model's table, None where it is of that size or has no table that could be resized.

    Raises:
        ValueError: Another size for a model without such a table.
    """
    if vocab_size is None or not isinstance(config, nn.Module) or _embedded(config) is not None:
        return vocab_size
    known = cast(Any, config).config.vocab_size
    if known != vocab_size:
        raise ValueError(f"Expected `vocab_size` = {known}, which {type(config).__name__} has, got {vocab_size}.")
    return None
