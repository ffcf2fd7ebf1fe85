"""Any causal language model of Hugging Face as an autoregressive network."""

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
    """A causal language model of the package transformers (GPT-2, Llama, Qwen, ...) as a network.

    Its logits at a position are those of the token that follows, as an autoregressive model wants them. Noise levels
    are not read, and labels refused. Every position to the left is attended to, padding too, as in :class:`DiT`.

    `encode` returns the last hidden state and `decode` what the head makes of it; they exist where the head is a chain
    of modules behind the body, which most are. `extend` continues a prefix, where besides the model remembers keys and
    values.

    Args:
        config: The architecture, as a configuration of transformers (`model_type`, `hidden_size`, ...) for random
            weights, or as a model that is already built.
        vocab_size: Size of the vocabulary, special tokens included; None is the model's own. Rows of the table are
            added or cut off at its end.

    Raises:
        ValueError: An architecture that is no causal language model.
        ImportError: The package transformers is not installed.
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
            # Instance attributes, so that a network has them only if they work.
            self.encode, self.decode = self._encode, self._decode
            if self._remembers():
                self.extend = self._extend
        self._origin: dict[str, Any] | None = None
        store_tied_weights_once(self)
        self.train()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, vocab_size: int | None = None, trust_remote_code: bool = False
    ) -> "HuggingFaceCausalLM":
        """Return the network with the weights of a folder or of a model on the Hugging Face hub, in float32.

        Args:
            name_or_path: The folder, or the name on the hub, from where it is then downloaded.
            vocab_size: As for the class.
            trust_remote_code: Run the code that comes with the weights, for architectures that transformers lacks.

        Raises:
            ValueError: There is no causal language model.
        """
        network = cls(load_model("AutoModelForCausalLM", name_or_path, vocab_size, trust_remote_code))
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
        """Return logits of the token that follows each of `xt`.

        Args:
            xt: Token ids in [0, ``vocab_size``).
            sigma: Not read.
            y: None.
            at: If given, logits of the positions where it is true alone, in row-major order.

        Raises:
            ValueError: A label, or more tokens than the model has positions.
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

    def _extend(
        self, tokens: Tensor, sigma: Tensor, y: Tensor | None = None, past: tuple[KeysValues, ...] | None = None
    ) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """Return the hidden states at the last positions, as `encode` does, and the past, as DiT's `extend` does.

        Tokens are ids (b, k), or mixtures of one-hots (b, k, v). The past is keys and values of each layer, each
        (batch, heads, length, head size).
        """
        from transformers import DynamicCache

        check_call(self.model, tokens, y, seen=0 if past is None else past[0][0].shape[2])
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(past or ()):
            cache.update(keys, values, layer)
        if tokens.is_floating_point():
            # Every row by itself and not the table: some architectures scale what they look up.
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
                f"Expected a causal language model, but what {type(self.model).__name__} says of a token changes with "
                "those that follow it: try `is_decoder: true` in its configuration."
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
            # Architectures without keys and values, or with more than those, fail in their own ways.
            return False
