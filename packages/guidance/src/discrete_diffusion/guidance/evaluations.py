"""Cost of sampling in network evaluations."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Shaped
from torch import Tensor


@runtime_checkable
class _Latent(Protocol):
    """Network that exposes its hidden states."""

    encode: Callable[..., Any]
    decode: Callable[..., Any]


@runtime_checkable
class _Causal(Protocol):
    """Network that can be continued from the keys and values of earlier tokens."""

    extend: Callable[..., Any]
    decode: Callable[..., Any]


@runtime_checkable
class _Prefix(Protocol):
    """Causal classifier that scores several candidates for the token after a prefix."""

    causal: bool
    candidates: Callable[..., Any]


class CountEvaluations:
    """Network that counts its forward passes, per row of the batch, and is otherwise unchanged.

    Put it around the network itself, inside every wrapper: classifier-free guidance of b rows then counts 2b, which is
    its cost. The leading axis of the first argument is the batch.

    Forward passes through the body of the network are counted: calls, and calls of `encode` and `extend`, which exist
    if the network has them. A call of `extend` counts each row once, however many tokens it reads, and a call of
    `candidates` of a prefix classifier counts each candidate once. `decode`, which is the last layer alone, and
    backward passes are not counted.

    Args:
        network: Function of a batch of tokens.

    Attributes:
        rows: Network evaluations, one for each row of each call.
        calls: Calls.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network
        self.rows = 0
        self.calls = 0
        # Attributes of the instance, not `__getattr__`: isinstance against a protocol must find them.
        if isinstance(network, _Latent):
            self.encode, self.decode = partial(self._count, network.encode), network.decode
        if isinstance(network, _Causal):
            self.extend, self.decode = partial(self._count, network.extend), network.decode
        if isinstance(network, _Prefix):
            self.causal, self.candidates = network.causal, partial(self._count_candidates, network.candidates)

    def __call__(self, xt: Shaped[Tensor, "b ..."], *args: Any, **kwargs: Any) -> Any:
        """Call the network with the same arguments and return its result."""
        return self._count(self.network, xt, *args, **kwargs)

    def reset(self) -> None:
        """Set both counts to zero."""
        self.rows = 0
        self.calls = 0

    def _count(self, call: Callable[..., Any], x: Tensor, /, *args: Any, **kwargs: Any) -> Any:
        output = call(x, *args, **kwargs)
        self.rows += x.shape[0]
        self.calls += 1
        return output

    def _count_candidates(self, call: Callable[..., Any], prefix: Tensor, tokens: Tensor, /, *args: Any) -> Any:
        output = call(prefix, tokens, *args)
        self.rows += tokens.numel()
        self.calls += 1
        return output
