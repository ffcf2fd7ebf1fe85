"""Classifier of noisy sequences with the trunk of DiMamba."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.dimamba import check_mamba_sizes, run_mamba_blocks
from discrete_diffusion.backbones.layers import SigmaEmbedding, TokenEmbedding, zero_linear
from discrete_diffusion.backbones.mamba_block import MambaBlock, rms_norm
from discrete_diffusion.backbones.pooling import POOLINGS, Pooling, pool, pool_candidates, pool_prefixes


class DiMambaClassifier(nn.Module):
    """Classifier of noisy sequences: logits of classes, or mean and log standard deviation of a property.

    The trunk and parameter names are those of :class:`DiMamba`, followed by

        output = linear(pool over the sequence of norm(hidden)).

    The linear layer starts at zero, so a new network returns zeros. It works for any length.

    Tokens are ids (b, l) or floats (b, l, v). One-hot encodings give the same outputs as their ids and carry gradients,
    as first-order guidance requires.

    Args:
        vocab_size: Size of the vocabulary, special tokens included.
        num_outputs: Number of outputs: one per class, or two for a Gaussian.
        hidden_size: Width of the residual stream.
        num_blocks: Number of blocks.
        state_size: Size of the state of each channel.
        conv_size: Number of positions in the convolution before the scan.
        expand: Number of channels of a block divided by `hidden_size`.
        cond_size: Width of the condition.
        dropout: Probability of dropping an element of a branch, in [0, 1).
        pooling: ``mean``, ``max``, ``first``, ``last``, or ``attention_mask``: the mean over the positions that are not
            `pad_id`, or over all positions of a row of padding. The blocks read padding in every case, as those of the
            generator do.
        causal: Read only from left to right, as :meth:`prefixes` requires.
        time_conditioning: If false, the network reads sigma = 0 whatever ``sigma`` is.
        tie_directions: Share the projections into and out of a block between its directions.
        pad_id: Token id of the padding, for ``attention_mask``.

    Raises:
        ValueError: If a size is invalid, or if `pooling` is unknown or lacks its `pad_id`.
    """

    def __init__(
        self,
        vocab_size: int,
        num_outputs: int,
        hidden_size: int = 256,
        num_blocks: int = 8,
        state_size: int = 16,
        conv_size: int = 4,
        expand: int = 2,
        cond_size: int = 128,
        dropout: float = 0.1,
        pooling: Pooling = "mean",
        causal: bool = False,
        time_conditioning: bool = True,
        tie_directions: bool = True,
        pad_id: int | None = None,
    ) -> None:
        super().__init__()
        check_mamba_sizes(
            dropout,
            vocab_size=vocab_size,
            num_outputs=num_outputs,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            state_size=state_size,
            conv_size=conv_size,
            expand=expand,
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
        self.vocab_embed = TokenEmbedding(vocab_size, hidden_size)
        self.sigma_map = SigmaEmbedding(cond_size)
        self.blocks = nn.ModuleList(
            MambaBlock(hidden_size, state_size, conv_size, expand, cond_size, dropout, causal, tie_directions)
            for _ in range(num_blocks)
        )
        self.norm_final = rms_norm(hidden_size)
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
            The outputs for each candidate, and the past of the prefix: the states of each block,
            and what the pooling needs.

        Raises:
            ValueError: If the network is not causal.
        """
        if not self.causal:
            raise ValueError("Expected a causal network for candidates: build it with `causal=True`.")
        condition, (b, count) = self._condition(sigma), tokens.shape
        states: list[Any] = [None] * len(self.blocks) if past is None else [state or None for state in past[:-1]]
        read, states = self._extend(self.vocab_embed(prefix), condition, states)
        # The state of a block has a fixed size: every candidate continues a copy of it.
        copies = [None if state is None else tuple(x.repeat_interleave(count, 0) for x in state) for state in states]
        each, _ = self._extend(
            self.vocab_embed(tokens).flatten(0, 1)[:, None], condition.repeat_interleave(count, 0), copies
        )
        weight = self._weight(torch.cat((prefix, tokens), 1))
        outputs, pooled = pool_candidates(
            self.norm_final(read),
            self.norm_final(each).view(b, count, -1),
            self.pooling,
            None if weight is None else (weight[:, : prefix.shape[1]], weight[:, prefix.shape[1] :]),
            None if past is None else past[-1],
        )
        return self.linear(outputs), (*(() if state is None else state for state in states), pooled)

    def _extend(self, x: Tensor, condition: Tensor, states: list[Any]) -> tuple[Tensor, list[Any]]:
        if not x.shape[1]:
            return x, states
        extended = []
        for block, state in zip(self.blocks, states, strict=True):
            assert isinstance(block, MambaBlock)
            x, state = block.extend(x, condition, state)
            extended.append(state)
        return x, extended

    def _condition(self, sigma: Tensor) -> Tensor:
        return F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))

    def _encode(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.norm_final(run_mamba_blocks(self.blocks, self.vocab_embed(x), self._condition(sigma)))

    def _weight(self, x: Tensor) -> Tensor | None:
        if self.pooling != "attention_mask" or self.pad_id is None:
            return None
        if x.is_floating_point():
            return 1 - x[..., self.pad_id]
        return x.ne(self.pad_id).to(self.linear.weight.dtype)
