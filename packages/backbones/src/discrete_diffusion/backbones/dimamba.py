"""Bidirectional Mamba, the network of the DNA models of MDLM and UDLM."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import Condition, OutputLayer, SigmaEmbedding, TokenEmbedding, condition_map
from discrete_diffusion.backbones.mamba_block import MambaBlock, RecurrentState, rms_norm


class DiMamba(nn.Module):
    """Bidirectional Mamba (DiMamba) of MDLM and UDLM, from token ids, noise level and label to logits.

    Blocks of Mamba (Gu and Dao 2023, arXiv 2312.00752) read the sequence and its reverse and add the two, with
    projections that the directions share (Schiff et al. 2024, arXiv 2403.03234). Their norms are shifted and scaled,
    and their branches gated, by linear functions of the condition of :class:`DiT`,

        c = SiLU(sigma_map(sigma)) + SiLU(cond_map(y)),

    as in Schiff et al. 2024 (arXiv 2412.10193). Gates, scales, shifts and the output layer start at zero, so a new
    network returns logits of zero. It works for any length, at a cost linear in it. Parameters and dropout are drawn
    from torch's global generator, as everywhere in ``torch.nn``.

    The scan of CUDA tensors uses the kernel of mamba-ssm if it is installed, and PyTorch otherwise.

    Args:
        vocab_size: Size of the vocabulary, special tokens included.
        hidden_size: Width of the residual stream.
        num_blocks: Number of blocks.
        state_size: Size of the state of each channel.
        conv_size: Number of positions in the convolution before the scan.
        expand: Number of channels of a block divided by `hidden_size`.
        cond_size: Width of the condition.
        dropout: Probability of dropping an element of a branch, in [0, 1).
        num_classes: Number of labels. The null label, "no condition", is index ``num_classes``; None has no labels.
        causal: Read only from left to right.
        time_conditioning: If false, the network reads sigma = 0 whatever ``sigma`` is.
        tie_directions: Share the projections into and out of a block between its directions.
        num_values: Number of numbers that condition a sequence, instead of labels; None has none.

    Raises:
        ValueError: If a size is invalid.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 256,
        num_blocks: int = 8,
        state_size: int = 16,
        conv_size: int = 4,
        expand: int = 2,
        cond_size: int = 128,
        dropout: float = 0.1,
        num_classes: int | None = None,
        causal: bool = False,
        time_conditioning: bool = True,
        tie_directions: bool = True,
        num_values: int | None = None,
    ) -> None:
        super().__init__()
        check_mamba_sizes(
            dropout,
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            state_size=state_size,
            conv_size=conv_size,
            expand=expand,
            cond_size=cond_size,
        )
        self.vocab_size = vocab_size
        self.num_classes = num_classes
        self.num_values = num_values
        self.causal = causal
        self.time_conditioning = time_conditioning
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size)
        self.sigma_map = SigmaEmbedding(cond_size)
        self.cond_map = condition_map(num_classes, num_values, cond_size)
        self.blocks = nn.ModuleList(
            MambaBlock(hidden_size, state_size, conv_size, expand, cond_size, dropout, causal, tie_directions)
            for _ in range(num_blocks)
        )
        self.output_layer = OutputLayer(rms_norm(hidden_size), hidden_size, vocab_size, cond_size)

    def forward(
        self,
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return logits of p(x_0 | x_t, y), equal to ``decode(encode(xt, sigma, y), sigma, y, at)``.

        Args:
            xt: Token ids in [0, ``vocab_size``).
            sigma: Noise level -log alpha(t) >= 0 of each sequence.
            y: Labels in [0, ``num_classes``], or ``num_values`` numbers in standard units, NaN where one is missing.
                None is the null label ``num_classes``, or all numbers missing.
            at: If given, return only the logits of the positions where it is true, in row-major order. The shape of the
                result depends on the mask's values, so this path waits for the device.

        Raises:
            ValueError: If `y` is given for a network without labels, or has another number of numbers.
            IndexError: If a token or label is out of range, on the CPU.
        """
        condition = self._condition(sigma, y)
        return self.output_layer(self._encode(xt, condition), condition, at)

    def encode(
        self,
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
    ) -> Float[Tensor, "b l d"]:
        """Return the residual stream after the last block; arguments and errors as in :meth:`forward`."""
        return self._encode(xt, self._condition(sigma, y))

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return the logits of the hidden states from :meth:`encode`; arguments and errors as in :meth:`forward`."""
        return self.output_layer(hidden, self._condition(sigma, y), at)

    def decode_tokens(
        self, hidden: Float[Tensor, "n d"], sigma: Float[Tensor, " n"], y: Condition | None = None
    ) -> Float[Tensor, "n v"]:
        """Return the logits of n tokens' hidden states, each with the noise level and label of its sequence."""
        return self.decode(hidden[:, None], sigma, y)[:, 0]

    def extend(
        self,
        tokens: Int[Tensor, "b k"] | Float[Tensor, "b k v"],
        sigma: Float[Tensor, " b"],
        y: Condition | None = None,
        past: tuple[RecurrentState, ...] | None = None,
    ) -> tuple[Float[Tensor, "b k d"], tuple[RecurrentState, ...]]:
        """Continue a prefix: equals :meth:`encode` of the whole sequence at its last k positions, without rereading it.

        Args:
            tokens: The k tokens that follow the prefix, ids or mixtures of one-hot encodings.
            sigma: As in :meth:`forward`, and the same for the prefix.
            y: As in :meth:`forward`, and the same for the prefix.
            past: Past returned by the call for the prefix; None for an empty prefix. Gradients flow into it.

        Returns:
            The residual stream after the last block at the new positions, and for each block the last inputs of its
            convolution (b, e, `conv_size` - 1) and its states (b, e, n). Their size does not depend on the length of
            the prefix, and they cannot be truncated to a shorter one.

        Raises:
            ValueError: If the network is not causal: later tokens would change the hidden states of a prefix.
        """
        if not self.causal:
            raise ValueError("Expected a causal network to extend: build it with `causal=True`.")
        condition, x = self._condition(sigma, y), self.vocab_embed(tokens)
        extended = []
        for block, seen in zip(self.blocks, past or [None] * len(self.blocks), strict=True):
            assert isinstance(block, MambaBlock)
            x, state = block.extend(x, condition, seen)
            extended.append(state)
        return x, tuple(extended)

    def _condition(self, sigma: Tensor, y: Tensor | None) -> Tensor:
        condition = F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))
        if self.cond_map is not None:
            return condition + F.silu(self.cond_map(y))
        if y is not None:
            raise ValueError("Expected `y` to be None for a network without labels: build it with `num_classes`.")
        return condition

    def _encode(self, xt: Tensor, condition: Tensor) -> Tensor:
        return run_mamba_blocks(self.blocks, self.vocab_embed(xt), condition)


def run_mamba_blocks(
    blocks: Iterable[nn.Module], x: Float[Tensor, "b l d"], condition: Float[Tensor, "b c"]
) -> Float[Tensor, "b l d"]:
    """Return the residual stream after all blocks."""
    for block in blocks:
        x = block(x, condition)
    return x


def check_mamba_sizes(dropout: float, **counts: int) -> None:
    """Check the sizes of a DiMamba.

    Raises:
        ValueError: If a count is below 1 or `dropout` is not in [0, 1).
    """
    for name, size in counts.items():
        if size < 1:
            raise ValueError(f"Expected `{name}` >= 1, got {size}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"Expected 0 <= `dropout` < 1, got {dropout}.")
