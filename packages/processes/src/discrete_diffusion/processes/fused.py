"""Losses fused with the output layer: the logits of a batch never exist at once.

With a large vocabulary, the logits and their gradient take more memory than the rest of a network. A loss fused with
the output layer computes the logits of a chunk of tokens, reduces them to one number per token, and drops them; the
backward pass computes them again, which repeats the matrix product of the output layer.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from discrete_diffusion.processes.protocols import TokenwiseNetwork, at_least_float32, given

FUSED_ABOVE = 2**27
"""Tokens times vocabulary above which objectives fuse the loss: logits and their gradient then take 1 GiB in float32.

Fusing saves nearly all of that memory. It lengthens the training step by 5 % for 12 blocks of width 768 and 30,522
tokens, and by a quarter for a network that is little more than its output layer.
"""

_CHUNK = {"cpu": 2**23}  # logits held at a time: fewer make the sums of the weights' gradients costly,
_CHUNK_OF_DEVICE = 2**25  # or enough to fill an accelerator


def fuses(network: object, tokens: int) -> bool:
    """Return whether a loss of so many tokens is computed in chunks."""
    return isinstance(network, TokenwiseNetwork) and tokens * network.vocab_size > FUSED_ABOVE


def sequences_at_once(length: int, vocab_size: int) -> int:
    """Return the number of sequences, at least one, whose logits stay within the bound above which losses fuse."""
    return max(1, FUSED_ABOVE // (length * vocab_size))


def fused_loss(
    network: TokenwiseNetwork,
    loss: Callable[..., Float[Tensor, " n"]],
    hidden: Float[Tensor, "n d"],
    sigma: Float[Tensor, " n"],
    y: Shaped[Tensor, "n ..."] | None,
    *of_tokens: Shaped[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Return `loss(network.decode_tokens(hidden, sigma, y), *of_tokens)` with the logits of one chunk at a time.

    Args:
        network: Network whose output layer reads each token alone.
        loss: Function from the logits (c, v) of c tokens, and their parts of `of_tokens`, to c numbers.
        hidden: Hidden states of the tokens.
        sigma: Noise level of each token.
        y: Label of each token, or its numbers.
        of_tokens: Other arguments of the loss, without gradients.
    """

    def of_chunk(part: slice) -> Tensor:
        labels = None if y is None else y[part]
        logits = at_least_float32(network.decode_tokens(hidden[part], sigma[part], **given(y=labels)))
        return loss(logits, *(x[part] for x in of_tokens))

    size = max(1, _CHUNK.get(hidden.device.type, _CHUNK_OF_DEVICE) // network.vocab_size)
    parts = [slice(start, start + size) for start in range(0, max(1, len(hidden)), size)]
    return torch.cat([checkpoint(of_chunk, part, use_reentrant=False) for part in parts])
