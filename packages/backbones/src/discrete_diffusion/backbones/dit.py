"""The diffusion transformer of SEDD, MDLM and UDLM."""

import math
from typing import TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from discrete_diffusion.backbones.attention import flash_attention as load_flash_attention
from discrete_diffusion.backbones.attention import sdpa_attention
from discrete_diffusion.backbones.rotary import rotary_tables, rotate


class DiTSize(TypedDict):
    """The three numbers that make a published size."""

    hidden_size: int
    num_blocks: int
    num_heads: int


DIT_TINY: DiTSize = {"hidden_size": 512, "num_blocks": 8, "num_heads": 8}
DIT_SMALL: DiTSize = {"hidden_size": 768, "num_blocks": 12, "num_heads": 12}
DIT_MEDIUM: DiTSize = {"hidden_size": 1024, "num_blocks": 24, "num_heads": 16}


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class _LayerNorm(nn.Module):
    """Layer normalization with a weight and no bias, computed in float32 or wider."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        wide = _at_least_float32(x.dtype)
        return F.layer_norm(x.to(wide), self.weight.shape, self.weight.to(wide)).to(x.dtype)


class _TokenEmbedding(nn.Module):
    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocab_size, hidden_size))
        nn.init.kaiming_uniform_(self.embedding, a=math.sqrt(5))

    def forward(self, xt: Tensor) -> Tensor:
        return F.embedding(xt, self.embedding)


class _SigmaEmbedding(nn.Module):
    """MLP([cos(sigma w), sin(sigma w)]) with w_i = max_period^(-i / n), n the number of frequencies."""

    def __init__(self, cond_size: int, num_sinusoids: int = 256, max_period: float = 10_000.0) -> None:
        super().__init__()
        self.num_frequencies = num_sinusoids // 2
        self.max_period = max_period
        self.mlp = nn.Sequential(nn.Linear(num_sinusoids, cond_size), nn.SiLU(), nn.Linear(cond_size, cond_size))

    def forward(self, sigma: Tensor) -> Tensor:
        dtype = next(self.mlp.parameters()).dtype
        wide = _at_least_float32(dtype)
        index = torch.arange(self.num_frequencies, device=sigma.device, dtype=wide)
        frequencies = torch.exp(index * (-math.log(self.max_period) / self.num_frequencies))
        angles = torch.outer(sigma.to(wide), frequencies)
        return self.mlp(torch.cat((angles.cos(), angles.sin()), dim=-1).to(dtype))


class _LabelEmbedding(nn.Module):
    """A row for each class and a last one for the null label."""

    def __init__(self, num_classes: int, cond_size: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, cond_size)

    def forward(self, y: Tensor | None) -> Tensor:
        return self.embedding_table.weight[-1] if y is None else self.embedding_table(y)


def _zero_linear(in_features: int, out_features: int) -> nn.Linear:
    linear = nn.Linear(in_features, out_features)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


class _Block(nn.Module):
    """x + gate * attention(modulated norm of x), then x + gate * MLP(modulated norm of x)."""

    def __init__(
        self, hidden_size: int, num_heads: int, cond_size: int, dropout: float, causal: bool, flash_attention: bool
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.causal = causal
        self.attention = load_flash_attention() if flash_attention else sdpa_attention
        self.norm1 = _LayerNorm(hidden_size)
        self.attn_qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.attn_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm2 = _LayerNorm(hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.adaLN_modulation = _zero_linear(cond_size, 6 * hidden_size)

    def forward(self, x: Tensor, condition: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        modulation = self.adaLN_modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = modulation

        qkv = self.attn_qkv(_modulate(self.norm1(x), shift_msa, scale_msa))
        cos, sin = cos.to(qkv.dtype), sin.to(qkv.dtype)
        # unbind and not slices: its backward pass is one copy, theirs are zeros, copies and sums.
        q, k, v = qkv.unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        attended = self.attention(rotate(q, cos, sin), rotate(k, cos, sin), v, causal=self.causal)
        attended = self.attn_out(attended.flatten(2))
        x = x + gate_msa * F.dropout(attended, self.dropout, self.training)

        updated = self.mlp(_modulate(self.norm2(x), shift_mlp, scale_mlp))
        return x + gate_mlp * F.dropout(updated, self.dropout, self.training)


class _OutputLayer(nn.Module):
    def __init__(self, hidden_size: int, vocab_size: int, cond_size: int) -> None:
        super().__init__()
        self.norm_final = _LayerNorm(hidden_size)
        self.linear = _zero_linear(hidden_size, vocab_size)
        self.adaLN_modulation = _zero_linear(cond_size, 2 * hidden_size)

    def forward(self, hidden: Tensor, condition: Tensor, at: Tensor | None) -> Tensor:
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=-1)
        if at is None:
            return self.linear(_modulate(self.norm_final(hidden), shift.unsqueeze(1), scale.unsqueeze(1)))
        rows, columns = at.nonzero(as_tuple=True)
        return self.linear(_modulate(self.norm_final(hidden[rows, columns]), shift[rows], scale[rows]))


class DiT(nn.Module):
    """The diffusion transformer (DDiT) of SEDD, MDLM and UDLM: token ids, noise level and label to logits.

    A transformer with rotary positions. Its layer norms are shifted and scaled, and its branches gated, by linear
    functions of the condition (adaLN-zero; Peebles and Xie 2023, arXiv 2212.09748)

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
        causal: Let a position see itself and earlier ones only.
        time_conditioning: If false, the network is fed sigma = 0 whatever ``sigma`` is.
        flash_attention: Use the flash-attn package, which needs CUDA and float16 or bfloat16.

    Raises:
        ValueError: A size that does not fit.
        ImportError: flash-attn is asked for and not installed.
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
    ) -> None:
        super().__init__()
        sizes = {
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "num_blocks": num_blocks,
            "num_heads": num_heads,
            "cond_size": cond_size,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"Expected `{name}` >= 1, got {size}.")
        if hidden_size % (2 * num_heads):
            raise ValueError(
                f"Expected `hidden_size` to be a multiple of 2 * `num_heads` = {2 * num_heads}, got {hidden_size}."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"Expected 0 <= `dropout` < 1, got {dropout}.")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"Expected `num_classes` >= 1 or None, got {num_classes}.")
        self.vocab_size = vocab_size
        self.num_classes = num_classes
        self.time_conditioning = time_conditioning
        self.head_size = hidden_size // num_heads
        self.vocab_embed = _TokenEmbedding(vocab_size, hidden_size)
        self.sigma_map = _SigmaEmbedding(cond_size)
        self.cond_map = None if num_classes is None else _LabelEmbedding(num_classes, cond_size)
        self.blocks = nn.ModuleList(
            _Block(hidden_size, num_heads, cond_size, dropout, causal, flash_attention) for _ in range(num_blocks)
        )
        self.output_layer = _OutputLayer(hidden_size, vocab_size, cond_size)

    def forward(
        self,
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return logits of p(x_0 | x_t, y), ``decode(encode(xt, sigma, y), sigma, y, at)``.

        Args:
            xt: Token ids in [0, ``vocab_size``).
            sigma: Noise level -log alpha(t) >= 0 of each sequence.
            y: Labels in [0, ``num_classes``]; None is the null label ``num_classes``.
            at: If given, logits of the positions where it is true alone, in row-major order. The shape of the result
                depends on the mask's values, so this path waits for the device and does not compile to one graph.

        Raises:
            ValueError: A label for a network without labels.
            IndexError: A token or label out of range, on the CPU. On CUDA the same mistake is a device-side assertion:
                the values are not read here, so that nothing waits for the device.
        """
        condition = self._condition(sigma, y)
        return self.output_layer(self._encode(xt, condition), condition, at)

    def encode(
        self, xt: Int[Tensor, "b l"], sigma: Float[Tensor, " b"], y: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """Return the residual stream after the last block; arguments and errors as in :meth:`forward`."""
        return self._encode(xt, self._condition(sigma, y))

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        sigma: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b l v"] | Float[Tensor, "n v"]:
        """Return the logits of what :meth:`encode` returned; arguments and errors as in :meth:`forward`."""
        return self.output_layer(hidden, self._condition(sigma, y), at)

    def _condition(self, sigma: Tensor, y: Tensor | None) -> Tensor:
        condition = F.silu(self.sigma_map(sigma if self.time_conditioning else torch.zeros_like(sigma)))
        if self.cond_map is not None:
            return condition + F.silu(self.cond_map(y))
        if y is not None:
            raise ValueError("Expected `y` to be None for a network without labels: build it with `num_classes`.")
        return condition

    def _encode(self, xt: Tensor, condition: Tensor) -> Tensor:
        x = self.vocab_embed(xt)
        cos, sin = rotary_tables(xt.shape[1], self.head_size, device=x.device, dtype=_at_least_float32(x.dtype))
        for block in self.blocks:
            x = block(x, condition, cos, sin)
        return x
