"""What a sample costs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor


class CountEvaluations:
    """Count the passes through a network, per row of the batch, and change nothing else.

    Put it around the network itself, inside every wrapper: classifier-free guidance of b rows then counts 2b, because
    that is what it costs. The first argument's leading axis is the batch.

    Counted are forward passes through the body of the network: calls of it, and of its `encode` and `extend`, which are
    there if the network has them. `extend` counts a row as one however many tokens it reads. Not counted are `decode`,
    which is the last layer alone, and backward passes.

    Attributes:
        rows: network evaluations, one for each row of each call.
        calls: calls.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network
        self.rows = 0
        self.calls = 0

    def __call__(self, xt: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Call the network with the same arguments and return what it returns."""
        return self._count(self.network, xt, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "decode":
            return getattr(self.network, name)
        if name in ("encode", "extend"):
            return partial(self._count, getattr(self.network, name))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def reset(self) -> None:
        """Start again from zero."""
        self.rows = 0
        self.calls = 0

    def _count(self, call: Callable[..., Any], x: Tensor, /, *args: Any, **kwargs: Any) -> Any:
        output = call(x, *args, **kwargs)
        self.rows += x.shape[0]
        self.calls += 1
        return output
