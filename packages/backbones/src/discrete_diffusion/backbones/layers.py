"""Layers of the diffusion transformer and its classifiers, with the published parameter names."""

import math
from collections.abc import Iterable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from discrete_diffusion.backbones.attention import flash_attention as load_flash_attention
from discrete_diffusion.backbones.attention import sdpa_attention
from discrete_diffusion.backbones.rotary import rotary_tables, rotate

Condition: TypeAlias = Int[Tensor, " b"] | Float[Tensor, "b m"]
"""Labels of a batch, or numbers in standard units, NaN where one is missing."""

KeysValues = tuple[Float[Tensor, "b h _ e"], Float[Tensor, "b h _ e"]]
"""Keys and values of one block, each (batch, heads, length, head size)."""


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return `dtype`, or float32 if that is wider."""
    return torch.promote_types(dtype, torch.float32)


class LayerNorm(nn.Module):
    """Layer normalization with a weight and no bias, computed in float32 or wider."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Normalize every position."""
        wide = at_least_float32(x.dtype)
        return F.layer_norm(x.to(wide), self.weight.shape, self.weight.to(wide)).to(x.dtype)


class TokenEmbedding(nn.Module):
    """Embedding of tokens: lookup for ids, and x @ table for floats such as mixtures of one-hot encodings."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocab_size, hidden_size))
        nn.init.kaiming_uniform_(self.embedding, a=math.sqrt(5))

    def forward(self, x: Int[Tensor, "b l"] | Float[Tensor, "b l v"]) -> Float[Tensor, "b l d"]:
        """Embed token ids or floats."""
        if not x.is_floating_point():
            return F.embedding(x, self.embedding)
        # Autocast lowers the precision of the product; the residual stream keeps that of the table.
        return (x.to(self.embedding.dtype) @ self.embedding).to(self.embedding.dtype)


class SigmaEmbedding(nn.Module):
    """Embedding MLP([cos(sigma w), sin(sigma w)]) with w_i = max_period^(-i / n) for n frequencies."""

    def __init__(self, cond_size: int, num_sinusoids: int = 256, max_period: float = 10_000.0) -> None:
        super().__init__()
        self.num_frequencies = num_sinusoids // 2
        self.max_period = max_period
        self.mlp = nn.Sequential(nn.Linear(num_sinusoids, cond_size), nn.SiLU(), nn.Linear(cond_size, cond_size))

    def forward(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c"]:
        """Embed noise levels."""
        dtype = next(self.mlp.parameters()).dtype
        wide = at_least_float32(dtype)
        index = torch.arange(self.num_frequencies, device=sigma.device, dtype=wide)
        frequencies = torch.exp(index * (-math.log(self.max_period) / self.num_frequencies))
        angles = torch.outer(sigma.to(wide), frequencies)
        return self.mlp(torch.cat((angles.cos(), angles.sin()), dim=-1).to(dtype))


class LabelEmbedding(nn.Module):
    """Embedding of labels, with the null label last."""

    def __init__(self, num_classes: int, cond_size: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, cond_size)

    def forward(self, y: Int[Tensor, " b"] | None) -> Float[Tensor, "*b c"]:
        """Embed labels (b,) as (b, c), or None as (c,)."""
        return self.embedding_table.weight[-1] if y is None else self.embedding_table(y)


class ValueEmbedding(nn.Module):
    """Embedding MLP([f(y_1), ..., f(y_k)]) of k numbers with Fourier features f(y) = [cos(y w), sin(y w)].

    The numbers are in standard units: the frequencies w, geometric from 1/8 to 8 radians per standard deviation,
    resolve a tenth of one and repeat after 50. A missing number, NaN, has learned features instead.
    """

    def __init__(self, num_values: int, cond_size: int, num_frequencies: int = 16) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.randn(num_values, 2 * num_frequencies) / 2**0.5)
        width = num_values * 2 * num_frequencies
        self.mlp = nn.Sequential(nn.Linear(width, cond_size), nn.SiLU(), nn.Linear(cond_size, cond_size))

    def forward(self, y: Shaped[Tensor, "..."] | None) -> Float[Tensor, "*b c"]:
        """Embed numbers (b, k) as (b, c), or None, which is k missing numbers, as (c,).

        Raises:
            ValueError: If the numbers have another shape or type.
        """
        if y is None:
            return self.mlp(self.null.flatten())
        if y.ndim != 2 or y.shape[1] != len(self.null) or not y.is_floating_point():
            raise ValueError(
                f"Expected `y` of {len(self.null)} numbers for each sequence, got {tuple(y.shape)} of {y.dtype}."
            )
        wide = at_least_float32(self.null.dtype)
        octaves = torch.linspace(-3, 3, self.null.shape[1] // 2, device=y.device, dtype=wide)
        angles = y.nan_to_num(0.0).to(wide).unsqueeze(-1) * torch.exp2(octaves)
        features = torch.cat((angles.cos(), angles.sin()), -1).to(self.null.dtype)
        return self.mlp(torch.where(y.isnan().unsqueeze(-1), self.null, features).flatten(1))


def condition_map(num_classes: int | None, num_values: int | None, cond_size: int) -> nn.Module | None:
    """Return the embedding of labels or of numbers, or None for a network without a condition.

    Raises:
        ValueError: If a size is below 1, or both are set.
    """
    for name, size in (("num_classes", num_classes), ("num_values", num_values)):
        if size is not None and size < 1:
            raise ValueError(f"Expected `{name}` >= 1 or None, got {size}.")
    if num_classes is not None and num_values is not None:
        raise ValueError("Expected either `num_classes` or `num_values`, got both.")
    if num_values is not None:
        return ValueEmbedding(num_values, cond_size)
    return None if num_classes is None else LabelEmbedding(num_classes, cond_size)


def zero_linear(in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer initialized to zero."""
    linear = nn.Linear(in_features, out_features)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def modulate(
    x: Float[Tensor, "*rows d"], shift: Float[Tensor, "... d"], scale: Float[Tensor, "... d"]
) -> Float[Tensor, "*rows d"]:
    """Apply scale and shift, (b, 1, d) for the hidden states of whole rows."""
    return x * (1 + scale) + shift


class OutputLayer(nn.Module):
    """Output layer linear((1 + scale(c)) * norm(x) + shift(c)), initialized to zero."""

    def __init__(self, norm: nn.Module, hidden_size: int, vocab_size: int, cond_size: int) -> None:
        super().__init__()
        self.norm_final = norm
        self.linear = zero_linear(hidden_size, vocab_size)
        self.adaLN_modulation = zero_linear(cond_size, 2 * hidden_size)

    def forward(
        self, hidden: Float[Tensor, "b l d"], condition: Float[Tensor, "b c"], at: Bool[Tensor, "b l"] | None
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return the logits (b, l, v), or (n, v) at the positions where `at` is true."""
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=-1)
        if at is None:
            return self.linear(modulate(self.norm_final(hidden), shift.unsqueeze(1), scale.unsqueeze(1)))
        rows, columns = at.nonzero(as_tuple=True)
        return self.linear(modulate(self.norm_final(hidden[rows, columns]), shift[rows], scale[rows]))


class Block(nn.Module):
    """Transformer block: x + gate * attention(modulated norm of x), then x + gate * MLP(modulated norm of x)."""

    def __init__(
        self, hidden_size: int, num_heads: int, cond_size: int, dropout: float, causal: bool, flash_attention: bool
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.causal = causal
        self.attention = load_flash_attention() if flash_attention else sdpa_attention
        self.norm1 = LayerNorm(hidden_size)
        self.attn_qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.attn_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm2 = LayerNorm(hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.adaLN_modulation = zero_linear(cond_size, 6 * hidden_size)

    def forward(
        self,
        x: Float[Tensor, "b l d"],
        condition: Float[Tensor, "b c"],
        cos: Float[Tensor, "l 1 k"],
        sin: Float[Tensor, "l 1 k"],
    ) -> Float[Tensor, "b l d"]:
        """Return the residual stream after the block."""
        return self.extend(x, condition, cos, sin)[0]

    def extend(
        self,
        x: Float[Tensor, "b l d"],
        condition: Float[Tensor, "b c"],
        cos: Float[Tensor, "l 1 k"],
        sin: Float[Tensor, "l 1 k"],
        past: KeysValues | None = None,
        mask: Bool[Tensor, "l all"] | None = None,
    ) -> tuple[Float[Tensor, "b l d"], KeysValues]:
        """Return the residual stream at positions that follow `past`, and the keys and values of both.

        A mask, true at the positions that a new one attends to, replaces `causal`.
        """
        modulation = self.adaLN_modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = modulation

        qkv = self.attn_qkv(modulate(self.norm1(x), shift_msa, scale_msa))
        cos, sin = cos.to(qkv.dtype), sin.to(qkv.dtype)
        # unbind has a cheaper backward pass than slicing: one copy instead of zeros, copies and sums.
        q, k, v = qkv.unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if past is not None:
            keys, values = past
            k, v = torch.cat((keys.transpose(1, 2), k), 1), torch.cat((values.transpose(1, 2), v), 1)
        masked = {} if mask is None else {"mask": mask}
        attended = self.attention(q, k, v, causal=self.causal, **masked)
        attended = self.attn_out(attended.flatten(2))
        x = x + gate_msa * F.dropout(attended, self.dropout, self.training)

        updated = self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp))
        x = x + gate_mlp * F.dropout(updated, self.dropout, self.training)
        return x, (k.transpose(1, 2), v.transpose(1, 2))


def run_blocks(
    blocks: Iterable[nn.Module], x: Float[Tensor, "b l d"], condition: Float[Tensor, "b c"], head_size: int
) -> Float[Tensor, "b l d"]:
    """Return the residual stream after all blocks."""
    cos, sin = rotary_tables(x.shape[1], head_size, device=x.device, dtype=at_least_float32(x.dtype))
    for block in blocks:
        x = block(x, condition, cos, sin)
    return x


def check_sizes(hidden_size: int, num_heads: int, dropout: float, **counts: int) -> None:
    """Check the sizes of a transformer.

    Raises:
        ValueError: If a count is below 1, `hidden_size` is not a multiple of 2 * `num_heads`, or `dropout` is not in
            [0, 1).
    """
    for name, size in {"hidden_size": hidden_size, "num_heads": num_heads, **counts}.items():
        if size < 1:
            raise ValueError(f"Expected `{name}` >= 1, got {size}.")
    if hidden_size % (2 * num_heads):
        raise ValueError(
            f"Expected `hidden_size` to be a multiple of 2 * `num_heads` = {2 * num_heads}, got {hidden_size}."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"Expected 0 <= `dropout` < 1, got {dropout}.")
