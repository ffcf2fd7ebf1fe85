"""What a sample costs."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


class CountEvaluations:
    """Count the passes through a network, per row of the batch, and change nothing else.

    Put it around the network itself, inside every wrapper: classifier-free guidance of b rows then counts 2b, because
    that is what it costs. The first argument's leading axis is the batch.

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
        output = self.network(xt, *args, **kwargs)
        self.rows += xt.shape[0]
        self.calls += 1
        return output

    def reset(self) -> None:
        """Start again from zero."""
        self.rows = 0
        self.calls = 0
