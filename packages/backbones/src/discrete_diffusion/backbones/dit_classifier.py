"""Classifier of noisy sequences with the trunk of the diffusion transformer."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.layers import (
    Block,
    KeysValues,
    LayerNorm,
    SigmaEmbedding,
    TokenEmbedding,
    at_least_float32,
    check_sizes,
    run_blocks,
    zero_linear,
)
from discrete_diffusion.backbones.pooling import POOLINGS, Pooling, pool, pool_candidates, pool_prefixes
from discrete_diffusion.backbones.rotary import rotary_tables


class DiTClassifier(nn.Module):
    """Classifier of noisy sequences: logits of classes, or mean and log standard deviation of a property.

    The trunk and parameter names are those of :class:`DiT`, followed by

        output = linear(pool over the sequence of norm(hidden)),

    without the norm if `final_norm` is false. The linear layer starts at zero, so a new network returns zeros. It works
    for any length.

    Tokens are ids (b, l) or floats (b, l, v). One-hot encodings give the same outputs as their ids and carry gradients,
    as first-order guidance requires.

    Args:
        vocab_size: Size of the vocabulary, special tokens included.
        hidden_size: Width of the residual stream, a multiple of ``2 * num_heads``.
        num_blocks: Number of blocks.
        num_heads: Number of attention heads.
        num_outputs: Number of outputs: one per class, or two for a Gaussian.
        cond_size: Width of the condition.
        dropout: Probability of dropping an element of a branch, in [0, 1).
        pooling: ``mean``, ``max``, ``first``, ``last``, or ``attention_mask``: the mean over the positions that are not
            `pad_id`, or over all positions of a row of padding. Attention reads padding in every case, as that of the
            generator does.
        causal: Let each position attend only to itself and earlier positions, as :meth:`prefixes` requires.
        time_conditioning: If false, the network reads sigma = 0 whatever ``sigma`` is.
        pad_id: Token id of the padding, for ``attention_mask``.
        final_norm: Normalize the hidden states before pooling. The classifiers published with arXiv 2412.10193 do not.

    Raises:
        ValueError: If a size is invalid, or if `pooling` is unknown or lacks its `pad_id`.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        num_outputs: int,
        cond_size: int = 128,
        dropout: float = 0.1,
        pooling: Pooling = "mean",
        causal: bool = False,
        time_conditioning: bool = True,
        pad_id: int | None = None,
        *,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(
            hidden_size,
            num_heads,
            dropout,
            vocab_size=vocab_size,
            num_blocks=num_blocks,
            num_outputs=num_outputs,
            cond_size=cond_size,
        )
        if pooling not in POOLINGS:
            raise ValueError(f"Expected `pooling` in {', '.join(POOLINGS)}, got {pooling}.")
        if pooling == "attention_mask" and pad_id is None:
            raise ValueError("Expected `pad_id` for pooling=attention_mask, got None: name the padding's token id.")
        if pad_id is not None and not 0 <= pad_id < vocab_size:
            raise ValueError(f"Expected 0 <= `pad_id` < `vocab_size` = {vocab_size}, got {pad_id}.")
        self.vocab_size = vocab_size
        self.num_outputs = num_outputs
        self.pooling = pooling
        self.causal = causal
        self.time_conditioning = time_conditioning
        self.pad_id = pad_id
        self.head_size = hidden_size // num_heads
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size)
        self.sigma_map = SigmaEmbedding(cond_size)
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, cond_size, dropout, causal, flash_attention=False) for _ in range(num_blocks)
        )
        self.norm_final = LayerNorm(hidden_size) if final_norm else nn.Identity()
        self.linear = zero_linear(hidden_size, num_outputs)

    def forward(
        self, x: Int[Tensor, "b l"] | Float[Tensor, "b l v"], sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b outputs"]:
        """Return the outputs for each sequence.

        Args:
            x: Token ids in [0, ``vocab_size``), or one-hot encodings.
            sigma: Noise level -log alpha(t) >= 0 of each sequence.
        """
        return self.linear(pool(self._encode(x, sigma), self.pooling, self._weight(x)))

    def prefixes(
        self, x: Int[Tensor, "b l"] | Float[Tensor, "b l v"], sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l outputs"]:
        """Return ``forward(x[:, : i + 1], sigma)`` for every position i, in one pass.

        Raises:
            ValueError: If the network is not causal.
        """
        if not self.causal:
            raise ValueError("Expected a causal network for prefixes: build it with `causal=True`.")
        return self.linear(pool_prefixes(self._encode(x, sigma), self.pooling, self._weight(x)))

    def candidates(
        self,
        prefix: Int[Tensor, "b j"],
        tokens: Int[Tensor, "b k"],
        sigma: Float[Tensor, " b"],
        past: tuple[tuple[Float[Tensor, "b ..."], ...], ...] | None = None,
    ) -> tuple[Float[Tensor, "b k outputs"], tuple[tuple[Float[Tensor, "b ..."], ...], ...]]:
        """Return :meth:`forward` for k candidates for the token after a prefix, without rereading the prefix.

        Args:
            prefix: Tokens that follow those of `past`.
            tokens: Candidates for the token after the prefix.
            sigma: As in :meth:`forward`, and the same for `past`.
            past: Past returned by the call for the preceding tokens; None if there are none.

        Returns:
            The outputs for each candidate, and the past of the prefix: keys and values of each
            block, and what the pooling needs.

        Raises:
            ValueError: If the network is not causal.
        """
        if not self.causal:
            raise ValueError("Expected a causal network for candidates: build it with `causal=True`.")
        condition = self._condition(sigma)
        seen, length, count = 0 if past is None else past[0][0].shape[2], prefix.shape[1], tokens.shape[1]
        x = self.vocab_embed(torch.cat((prefix, tokens), 1))
        cos, sin = rotary_tables(
            length + 1, self.head_size, device=x.device, dtype=at_least_float32(x.dtype), start=seen
        )
        # Every candidate stands at the position after the prefix, and attends to the prefix and to itself.
        position = torch.arange(length + count, device=x.device).clamp(max=length)
        mask = torch.ones(length + count, seen + length + count, dtype=torch.bool, device=x.device).tril(seen)
        mask[length:, seen + length :] = torch.eye(count, dtype=torch.bool, device=x.device)
        read: list[KeysValues | None] = [None] * len(self.blocks)
        if past is not None:
            read = [(keys, values) for keys, values in past[:-1]]
        kept = []
        for block, keys_values in zip(self.blocks, read, strict=True):
            assert isinstance(block, Block)
            x, (keys, values) = block.extend(x, condition, cos[position], sin[position], keys_values, mask)
            kept.append((keys[:, :, : seen + length], values[:, :, : seen + length]))
        hidden = self.norm_final(x)
        weight = self._weight(torch.cat((prefix, tokens), 1))
        outputs, pooled = pool_candidates(
            hidden[:, :length],
            hidden[:, length:],
            self.pooling,
            None if weight is None else (weight[:, :length], weight[:, length:]),
            None if past is None else past[-1],
        )
        return self.linear(outputs), (*kept, pooled)

    def _condition(self, sigma: Tensor) -> Tensor:
        return F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))

    def _encode(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.norm_final(run_blocks(self.blocks, self.vocab_embed(x), self._condition(sigma), self.head_size))

    def _weight(self, x: Tensor) -> Tensor | None:
        if self.pooling != "attention_mask" or self.pad_id is None:
            return None
        if x.is_floating_point():
            return 1 - x[..., self.pad_id]
        return x.ne(self.pad_id).to(self.linear.weight.dtype)
