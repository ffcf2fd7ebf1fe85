"""Diffusion transformer of SEDD, MDLM and UDLM."""

from typing import TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import (
    Block,
    Condition,
    KeysValues,
    LayerNorm,
    OutputLayer,
    SigmaEmbedding,
    TokenEmbedding,
    at_least_float32,
    check_sizes,
    condition_map,
    run_blocks,
)
from discrete_diffusion.backbones.rotary import rotary_tables


class DiTSize(TypedDict):
    """Hyperparameters of a published size."""

    hidden_size: int
    num_blocks: int
    num_heads: int


DIT_TINY: DiTSize = {"hidden_size": 512, "num_blocks": 8, "num_heads": 8}
DIT_SMALL: DiTSize = {"hidden_size": 768, "num_blocks": 12, "num_heads": 12}
DIT_MEDIUM: DiTSize = {"hidden_size": 1024, "num_blocks": 24, "num_heads": 16}


class DiT(nn.Module):
    """Diffusion transformer (DDiT) of SEDD, MDLM and UDLM, from token ids, noise level and label to logits.

    A transformer with rotary position embeddings. Its layer norms are shifted and scaled, and its branches gated, by
    linear functions of the condition (adaLN-zero; Peebles and Xie 2023, arXiv 2212.09748)

        c = SiLU(sigma_map(sigma)) + SiLU(cond_map(y)),

    as in Lou et al. 2024 (arXiv 2310.16834), Sahoo et al. 2024 (arXiv 2406.07524) and Schiff et al. 2024 (arXiv
    2412.10193). Gates, scales, shifts and the output layer start at zero: a new network returns logits of zero. It
    works for any length. Parameters and dropout are drawn from torch's global generator, as everywhere in ``torch.nn``.

    Args:
        vocab_size: Size of the vocabulary, special tokens included.
        hidden_size: Width of the residual stream, a multiple of ``2 * num_heads``.
        num_blocks: Number of blocks, each of one attention and one MLP four times as wide.
        num_heads: Number of attention heads.
        cond_size: Width of the condition.
        dropout: Probability of dropping an element of a branch, in [0, 1).
        num_classes: Number of labels. The null label, "no condition", is index ``num_classes``; None has no labels.
        causal: Let each position attend only to itself and earlier positions.
        time_conditioning: If false, the network reads sigma = 0 whatever ``sigma`` is.
        flash_attention: Use the flash-attn package, which needs CUDA and float16 or bfloat16.
        num_values: Number of numbers that condition a sequence, instead of labels; None has none.

    Raises:
        ValueError: If a size is invalid.
        ImportError: If `flash_attention` is true and flash-attn is not installed.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        cond_size: int = 128,
        dropout: float = 0.1,
        num_classes: int | None = None,
        causal: bool = False,
        time_conditioning: bool = True,
        flash_attention: bool = False,
        num_values: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(hidden_size, num_heads, dropout, vocab_size=vocab_size, num_blocks=num_blocks, cond_size=cond_size)
        self.vocab_size = vocab_size
        self.num_classes = num_classes
        self.num_values = num_values
        self.causal = causal
        self.time_conditioning = time_conditioning
        self.head_size = hidden_size // num_heads
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size)
        self.sigma_map = SigmaEmbedding(cond_size)
        self.cond_map = condition_map(num_classes, num_values, cond_size)
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, cond_size, dropout, causal, flash_attention) for _ in range(num_blocks)
        )
        self.output_layer = OutputLayer(LayerNorm(hidden_size), hidden_size, vocab_size, cond_size)

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
                result depends on the mask's values, so this path waits for the device and does not compile to one
                graph.

        Raises:
            ValueError: If `y` is given for a network without labels, or has another number of numbers.
            IndexError: If a token or label is out of range, on the CPU. On CUDA it is a device-side assertion, because
                reading the values would wait for the device.
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
        past: tuple[KeysValues, ...] | None = None,
    ) -> tuple[Float[Tensor, "b k d"], tuple[KeysValues, ...]]:
        """Continue a prefix: equals :meth:`encode` of the whole sequence at its last k positions, without rereading it.

        Args:
            tokens: The k tokens that follow the prefix, ids or mixtures of one-hot encodings.
            sigma: As in :meth:`forward`, and the same for the prefix.
            y: As in :meth:`forward`, and the same for the prefix.
            past: Past returned by the call for the prefix; None for an empty prefix. Gradients flow into it.

        Returns:
            The residual stream after the last block at the new positions, and for each block the (rotated) keys and
            values of prefix and new positions, each (batch, heads, length, head size).

        Raises:
            ValueError: If the network is not causal: later tokens would change the hidden states of a prefix.
        """
        if not self.causal:
            raise ValueError("Expected a causal network to extend: build it with `causal=True`.")
        condition, x = self._condition(sigma, y), self.vocab_embed(tokens)
        start = 0 if past is None else past[0][0].shape[2]
        cos, sin = rotary_tables(
            tokens.shape[1], self.head_size, device=x.device, dtype=at_least_float32(x.dtype), start=start
        )
        extended = []
        for block, seen in zip(self.blocks, past or [None] * len(self.blocks), strict=True):
            assert isinstance(block, Block)
            x, keys_values = block.extend(x, condition, cos, sin, seen)
            extended.append(keys_values)
        return x, tuple(extended)

    def _condition(self, sigma: Tensor, y: Tensor | None) -> Tensor:
        condition = F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))
        if self.cond_map is not None:
            return condition + F.silu(self.cond_map(y))
        if y is not None:
            raise ValueError("Expected `y` to be None for a network without labels: build it with `num_classes`.")
        return condition

    def _encode(self, xt: Tensor, condition: Tensor) -> Tensor:
        return run_blocks(self.blocks, self.vocab_embed(xt), condition, self.head_size)
