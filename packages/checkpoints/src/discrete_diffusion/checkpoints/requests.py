"""Requested numbers behind the class labels that guidance passes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.processes import CausalNetwork, LatentNetwork

NO_REQUEST = 2**31 - 1
"""Label that means "no condition" for a model that is conditional on numbers."""


class RequestedNetwork:
    """Network that reads the label i as the i-th of a table of requests, and every other label as no condition.

    Guidance and samplers pass one integer for each sequence. Numbers pass unchanged.

    Args:
        network: Network that is conditional on numbers.
        requests: Numbers of each request in standard units, NaN where one is free.
    """

    def __init__(self, network: Callable[..., Any], requests: Float[Tensor, "r k"]) -> None:
        self.network = network
        self.requests = torch.cat([requests, torch.full_like(requests[:1], torch.nan)])
        # Attributes of the instance: isinstance against a protocol must find them.
        if isinstance(network, LatentNetwork):
            self.encode, self.decode = partial(self._call, network.encode), partial(self._call, network.decode)
        if isinstance(network, CausalNetwork):
            self.extend = partial(self._call, network.extend)

    def __call__(self, xt: Tensor, sigma: Tensor, y: Tensor | None = None, **options: Any) -> Any:
        """Call the network with the numbers that the labels stand for."""
        return self._call(self.network, xt, sigma, y, **options)

    def _call(self, call: Callable[..., Any], x: Tensor, sigma: Tensor, y: Tensor | None = None, **options: Any) -> Any:
        if y is not None and not y.is_floating_point():
            y = self.requests.to(y.device)[y.clamp(max=len(self.requests) - 1)]
        return call(x, sigma, **({} if y is None else {"y": y}), **options)
