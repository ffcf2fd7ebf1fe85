"""Protocols of networks, denoisers and kernels."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Past: TypeAlias = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each block, each (batch, heads, length, head size); or the states of a recurrent block."""

Condition: TypeAlias = Int[Tensor, " b"] | Float[Tensor, "b m"]
"""Labels of a batch, or numbers in standard units, NaN where one is missing."""

PrefixPast: TypeAlias = tuple[tuple[Tensor, ...], ...]
"""Cache of a causal classifier for prefixes: tensors whose first axis is the batch."""


@runtime_checkable
class Network(Protocol):
    """Denoising network: logits of the clean tokens, (b, l, v), or (n, v) at the n positions where `at` is true.

    sigma = -log alpha(t) is the noise level. `y` and `at` are passed only if they have a value, so a function without
    them is a network too.
    """

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return logits."""
        ...


@dataclass(frozen=True)
class NetworkTraits:
    """Attributes that a network may have beside its call, with the values for a network without them.

    Args:
        causal: Whether each position is read without those to its right.
        time_conditioning: Whether the network reads the noise level.
        num_classes: Number of labels without the null label, or None.
        num_values: Number of numbers that condition a sequence, or None.
        num_outputs: Number of outputs of a classifier, or None.
        blueprint: Configuration that rebuilds the network without the file that it was loaded from, or None.
    """

    causal: bool = False
    time_conditioning: bool = True
    num_classes: int | None = None
    num_values: int | None = None
    num_outputs: int | None = None
    blueprint: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, network: object) -> "NetworkTraits":
        """Read the attributes of a network."""
        values: dict[str, Any] = {field.name: getattr(network, field.name, field.default) for field in fields(cls)}
        return cls(**values)


@runtime_checkable
class LatentNetwork(Network, Protocol):
    """Network with access to its hidden states: a call equals `decode(encode(xt, sigma, y), sigma, y, at)`."""

    def encode(
        self, xt: Int[Tensor, "b l"], sigma: Float[Tensor, " b"], y: Condition | None = None
    ) -> Float[Tensor, "b l d"]:
        """Return the hidden states."""
        ...

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the logits of hidden states."""
        ...


@runtime_checkable
class TokenwiseNetwork(LatentNetwork, Protocol):
    """Latent network whose output layer reads each position alone, so that a loss can decode some tokens at a time."""

    @property
    def vocab_size(self) -> int:
        """Number of logits per token."""
        ...

    def decode_tokens(
        self, hidden: Float[Tensor, "n d"], sigma: Float[Tensor, " n"], y: Condition | None = None
    ) -> Float[Tensor, "n v"]:
        """Return the logits of n tokens, each with the noise level and label of its sequence."""
        ...


@runtime_checkable
class CausalNetwork(LatentNetwork, Protocol):
    """Causal network that continues a prefix from its cached past."""

    def extend(
        self,
        tokens: Int[Tensor, "b k"] | Float[Tensor, "b k v"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        past: Past | None = None,
    ) -> tuple[Float[Tensor, "b k d"], Past]:
        """Return the hidden states of new tokens, and the past that includes them."""
        ...


@runtime_checkable
class PrefixNetwork(Protocol):
    """Causal classifier that scores candidates for the next token without rereading the prefix."""

    @property
    def causal(self) -> bool:
        """Whether each position is read without those to its right, which `candidates` needs."""
        ...

    def __call__(self, x: Int[Tensor, "b l"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b o"]:
        """Return the outputs for each sequence."""
        ...

    def candidates(
        self,
        prefix: Int[Tensor, "b j"],
        tokens: Int[Tensor, "b k"],
        sigma: Float[Tensor, " b"],
        past: PrefixPast | None = None,
    ) -> tuple[Float[Tensor, "b k o"], PrefixPast]:
        """Return the outputs for each of k sequences, and the past of the prefix.

        Sequence i consists of the tokens of `past`, of `prefix`, and of `tokens[:, i]`.
        """
        ...


@runtime_checkable
class Denoiser(Protocol):
    """Log-probabilities of the clean tokens, log p(x_0 | x_t, y), normalized; (n, v) at the positions of `at`.

    It equals the protocol of the same name in discrete-diffusion-guidance, so that neither package needs the other.
    """

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return log p(x_0 | x_t, y)."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """Reverse step log p(x_s | x_t, y) with s < t, normalized."""

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y)."""
        ...


def given(**optional: Tensor | None) -> dict[str, Any]:
    """Return the arguments that are not None, for functions that do not take all of them."""
    return {name: value for name, value in optional.items() if value is not None}


def at_least_float32(logits: Float[Tensor, "*p v"]) -> Float[Tensor, "*p v"]:
    """Return half-precision logits as float32, whose log-probabilities keep their digits, and others unchanged."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
