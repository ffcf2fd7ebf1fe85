"""Networks that show what is inside them."""

from typing import Any

from discrete_diffusion.processes.types import Network


def opened(network: Network, *names: str) -> Any:
    """Return the network as what has these methods, so that `hasattr` of what asks for them is false otherwise.

        encode(xt, sigma, y=None) -> hidden (b, l, d)
        decode(hidden, sigma, y=None, at=None) -> logits, what the network makes of such a hidden state
        extend(tokens, sigma, y=None, past=None) -> hidden, past: of tokens that follow a prefix, causal networks only

    Raises:
        AttributeError: The network lacks one of them.
    """
    for name in names:
        if not hasattr(network, name):
            raise AttributeError(f"Expected a network with `{name}`, got {type(network).__name__}.")
    return network
