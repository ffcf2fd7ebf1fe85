"""Causal language models of Hugging Face as autoregressive networks."""

from collections.abc import Mapping
from typing import Any

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
from discrete_diffusion.backbones.layers import KeysValues


class HuggingFaceCausalLM(nn.Module):
    """Network from a causal language model of transformers (GPT-2, Llama, Qwen, ...).

    The logits at a position are those of the next token, as an autoregressive model requires. Noise levels are ignored,
    and labels raise an error. Each position attends to all positions to its left, padding included, as in :class:`DiT`.

    `encode` returns the last hidden states and `decode` their logits. Both exist if the head is a chain of modules
    after the body, as in most architectures. `extend` continues a prefix; it exists if the model also caches keys and
    values.

    Args:
        config: Configuration of transformers (`model_type`, `hidden_size`, ...) for random weights, or a model.
        vocab_size: Size of the vocabulary, special tokens included; None keeps that of the model. Rows are added or
            removed at the end of the embedding table.

    Raises:
        ValueError: If the architecture is not a causal language model.
        ImportError: If the package transformers is not installed.
    """

    causal = True
    time_conditioning = False
    num_classes = None

    def __init__(self, config: Mapping[str, Any] | nn.Module, vocab_size: int | None = None) -> None:
        super().__init__()
        self.model = build_model("AutoModelForCausalLM", config, vocab_size).eval()
        self.vocab_size: int = self.model.get_input_embeddings().num_embeddings
        self._check_causal()
        self._head = find_head(self.model)
        if self._head is not None:
            # Instance attributes, so that only networks that support these methods have them.
            self.encode, self.decode, self.decode_tokens = self._encode, self._decode, self._decode_tokens
            if self._remembers():
                self.extend = self._extend
        self._origin: dict[str, Any] | None = None
        store_tied_weights_once(self)
        self.train()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, vocab_size: int | None = None, trust_remote_code: bool = False
    ) -> "HuggingFaceCausalLM":
        """Load the network with its weights, in float32, from a folder or the Hugging Face hub.

        Args:
            name_or_path: Folder, or name on the hub, from which the model is downloaded.
            vocab_size: As in the constructor.
            trust_remote_code: Run code that comes with the weights, for architectures outside transformers.

        Raises:
            ValueError: If no causal language model is found.
        """
        network = cls(load_model("AutoModelForCausalLM", name_or_path, vocab_size, trust_remote_code))
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
        """Return the logits of the token after each position of `xt`.

        Args:
            xt: Token ids in [0, ``vocab_size``).
            sigma: Ignored.
            y: Must be None.
            at: If given, return only the logits of the positions where it is true, in row-major order.

        Raises:
            ValueError: If `y` is given, or if there are more tokens than the model has positions.
        """
        if self._head is not None:
            return self._decode(self._encode(xt, sigma, y), sigma, y, at)
        check_call(self.model, xt, y)
        logits = self.model(input_ids=xt, use_cache=False).logits
        return logits if at is None else logits[at]

    def _encode(self, xt: Tensor, sigma: Tensor, y: Tensor | None = None) -> Tensor:
        check_call(self.model, xt, y)
        return self.model.base_model(input_ids=xt, use_cache=False)[0]

    def _decode(self, hidden: Tensor, sigma: Tensor, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        assert self._head is not None
        check_call(self.model, hidden, y)
        return apply_head(self.model, self._head, hidden if at is None else hidden[at])

    def _decode_tokens(self, hidden: Tensor, sigma: Tensor, y: Tensor | None = None) -> Tensor:
        return self._decode(hidden[:, None], sigma, y)[:, 0]

    def _extend(
        self, tokens: Tensor, sigma: Tensor, y: Tensor | None = None, past: tuple[KeysValues, ...] | None = None
    ) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """Return the hidden states at the last positions, as `encode` does, and the past, as DiT's `extend` does.

        Tokens are ids (b, k) or mixtures of one-hot encodings (b, k, v). The past is keys and values of each layer,
        each (batch, heads, length, head size).
        """
        from transformers import DynamicCache

        check_call(self.model, tokens, y, seen=0 if past is None else past[0][0].shape[2])
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(past or ()):
            cache.update(keys, values, layer)
        if tokens.is_floating_point():
            # Look up every row instead of using the weights, because some architectures scale their embeddings.
            table = self.model.get_input_embeddings()(torch.arange(self.vocab_size, device=tokens.device))
            inputs = {"inputs_embeds": tokens.to(table.dtype) @ table}
        else:
            inputs = {"input_ids": tokens}
        hidden = self.model.base_model(**inputs, past_key_values=cache, use_cache=True)[0]
        return hidden, tuple((keys, values) for keys, values, *_ in cache)

    def _check_causal(self) -> None:
        one, other = torch.tensor([[0, 0]]), torch.tensor([[0, self.vocab_size - 1]])
        with torch.no_grad():
            first, second = (self.model(input_ids=ids.to(self.model.device)).logits[:, 0] for ids in (one, other))
        if not torch.allclose(first, second, atol=1e-4):
            raise ValueError(
                f"Expected a causal language model, but the predictions of {type(self.model).__name__} depend on later "
                "tokens: try `is_decoder: true` in its configuration."
            )

    def _remembers(self) -> bool:
        ids = torch.tensor([[0, 1, 0]], device=self.model.device)
        sigma = torch.zeros(1, device=ids.device)
        try:
            with torch.no_grad():
                _, past = self._extend(ids[:, :2], sigma)
                last, past = self._extend(ids[:, 2:], sigma, past=past)
                whole = self._encode(ids, sigma)
            return all(keys.ndim == 4 and keys.shape[2] == 3 for keys, _ in past) and torch.allclose(
                last, whole[:, 2:], atol=1e-3
            )
        except Exception:
            # Architectures with other caches than keys and values raise various exceptions.
            return False
