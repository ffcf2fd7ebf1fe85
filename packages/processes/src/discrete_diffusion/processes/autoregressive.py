"""Autoregressive models, with the signature of a denoiser."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.fused import fused_loss, fuses
from discrete_diffusion.processes.objectives import Terms
from discrete_diffusion.processes.prefix_cache import PrefixCache
from discrete_diffusion.processes.protocols import (
    CausalNetwork,
    Condition,
    Denoiser,
    LatentNetwork,
    Network,
    Past,
    TokenwiseNetwork,
    at_least_float32,
    given,
)
from discrete_diffusion.processes.token_sums import log_probs_of


@dataclass(unsafe_hash=True)
class NextToken:
    """Autoregressive model log p(x^l | x^1 ... x^(l-1), y).

    A causal network reads `bos_id` followed by the sequence without its last token. The model has the signature of a
    denoiser, so guidance can wrap it. It ignores the time: the network receives sigma = 0.

    The constructor returns a `LatentNextToken` for a `LatentNetwork` and a `CausalNextToken` for a `CausalNetwork`.

    Args:
        network: Causal network.
        bos_id: Token in front of every sequence.
    """

    network: Network
    bos_id: int
    left_to_right: ClassVar[bool] = True

    def __new__(cls, network: Network | None = None, bos_id: int | None = None) -> "NextToken":
        """Choose the class by the capabilities of the network; copies pass no arguments and keep their class."""
        if network is None:
            return super().__new__(cls)
        if isinstance(network, CausalNetwork):
            return super().__new__(CausalNextToken)
        return super().__new__(LatentNextToken if isinstance(network, LatentNetwork) else NextToken)

    def __call__(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p, (b, l, v), or (n, v) at the n positions where `at` is true, in row-major order."""
        return self.logits(x, t, y=y, at=at).log_softmax(-1)

    def logits(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return the logits of the network, at least in float32, which the loss reads without a normalized copy."""
        return at_least_float32(self.network(self._shifted(x), _zeros(x), **given(y=y, at=at)))

    def _shifted(self, x: Int[Tensor, "b l"]) -> Int[Tensor, "b l"]:
        return torch.cat([torch.full_like(x[:, :1], self.bos_id), x[:, :-1]], 1)


@dataclass(unsafe_hash=True)
class LatentNextToken(NextToken):
    """Autoregressive model with access to its hidden states, created by `NextToken`.

    Args:
        network: Causal network with `encode` and `decode`.
        bos_id: Token in front of every sequence.
    """

    network: LatentNetwork

    def encode(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Condition | None = None,
    ) -> Float[Tensor, "b l d"]:
        """Return the hidden states: position i has read bos and x[:, :i], and predicts x[:, i]."""
        return self.network.encode(self._shifted(x), _zeros(x), **given(y=y))

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p from hidden states, in the shape that a call returns."""
        return at_least_float32(self.network.decode(hidden, _zeros(hidden), **given(y=y, at=at))).log_softmax(-1)


@dataclass(unsafe_hash=True)
class CausalNextToken(LatentNextToken):
    """Autoregressive model that continues a prefix, created by `NextToken`.

    A call for a single column (`at` is true only there) caches the keys and values of its prefix, and the next call
    feeds only the new tokens to the network: left-to-right sampling reads every token once, even through wrappers. The
    cache makes the object mutable. It is used only without gradients and outside training, and does not change results:
    if the prefix, the labels or the weights have changed, the affected part is computed again.

    Args:
        network: Causal network with `encode`, `decode` and `extend`.
        bos_id: Token in front of every sequence.
    """

    network: CausalNetwork
    _cache: PrefixCache = field(default_factory=PrefixCache, init=False, repr=False, compare=False)

    def __call__(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p, (b, l, v), or (n, v) at the n positions where `at` is true, in row-major order."""
        column = _only_column(at) if at is not None and self._uses_memory() else None
        if at is None or column is None:
            return super().__call__(x, t, y=y, at=at)
        hidden = self._cache.last_hidden(self.network, self.extend, self._shifted(x)[:, : column + 1], y)
        if column == x.shape[1] - 1:
            self._cache.forget()
        return self.decode(hidden, x[:, column, None], y=y, at=at[:, column, None])

    def extend(
        self,
        tokens: Int[Tensor, "b k"] | Float[Tensor, "b k v"],
        past: Past | None,
        *,
        y: Condition | None = None,
    ) -> tuple[Float[Tensor, "b k d"], Past]:
        """Return the hidden states of new tokens, starting with bos, and the past that includes them.

        Args:
            tokens: Token ids, or mixtures of tokens.
            past: Past returned for the preceding tokens; None for the empty prefix.
            y: Labels.
        """
        if past is None:
            return self.network.extend(tokens, _zeros(tokens), **given(y=y))
        return self.network.extend(tokens, _zeros(tokens), past=past, **given(y=y))

    def next_token(self, hidden: Float[Tensor, "b k d"], *, y: Condition | None = None) -> Float[Tensor, "b k v"]:
        """Return log p of the token that follows each hidden state."""
        return at_least_float32(self.network.decode(hidden, _zeros(hidden), **given(y=y))).log_softmax(-1)

    def _uses_memory(self) -> bool:
        # Dropout makes the predictions of a network in training random, so they cannot be reused.
        training = isinstance(self.network, torch.nn.Module) and self.network.training
        return not torch.is_grad_enabled() and not training


@dataclass(frozen=True)
class AutoregressiveNLL:
    """Exact likelihood -log p(x) = sum over l of -log p(x^l | x^1 ... x^(l-1)), with `NextToken` as the denoiser."""

    def loss(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """Return the exact negative log-likelihood in nats per token, without randomness."""
        t = torch.zeros(len(x0), device=x0.device)
        if isinstance(denoiser, LatentNextToken) and fuses(denoiser.network, x0.numel()):
            return self._fused(denoiser, x0, y)
        predict = denoiser.logits if isinstance(denoiser, NextToken) else denoiser
        logits = predict(x0, t, **given(y=y))
        return -log_probs_of(logits.flatten(0, 1), x0.flatten()[:, None]).view(x0.shape)

    def terms(
        self,
        denoiser: Denoiser,
        x0: Int[Tensor, "b l"],
        y: Condition | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """Return the likelihood as the diffusion term; prior and reconstruction are zero."""
        nll = self.loss(denoiser, x0, y)
        return Terms(prior=torch.zeros_like(nll), diffusion=nll, reconstruction=torch.zeros_like(nll))

    def _fused(self, denoiser: "LatentNextToken", x0: Int[Tensor, "b l"], y: Condition | None) -> Float[Tensor, "b l"]:
        assert isinstance(denoiser.network, TokenwiseNetwork)
        hidden = denoiser.encode(x0, **given(y=y)).flatten(0, 1)
        losses = fused_loss(
            denoiser.network,
            lambda logits, tokens: -log_probs_of(logits, tokens[:, None])[:, 0],
            hidden,
            _zeros(hidden),
            None if y is None else y.repeat_interleave(x0.shape[1], 0),
            x0.flatten(),
        )
        return losses.view(x0.shape)


def _zeros(like: Tensor) -> Float[Tensor, " b"]:
    return torch.zeros(len(like), device=like.device)


def _only_column(at: Bool[Tensor, "b l"]) -> int | None:
    columns = at.any(0).nonzero().flatten().tolist()
    return columns[0] if len(columns) == 1 else None
