"""Softmax attention softmax(q k^T / sqrt(k)) v, by PyTorch or by flash-attn."""

import importlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Attention = Callable[..., Tensor]
"""``(q, k, v, *, causal) -> out``, each (batch, length, heads, head size).

The queries may be fewer than the keys: they are then the last positions, and a causal one sees what precedes it.
"""


def sdpa_attention(
    q: Float[Tensor, "b l h k"], k: Float[Tensor, "b m h k"], v: Float[Tensor, "b m h k"], *, causal: bool
) -> Float[Tensor, "b l h k"]:
    """Attention by :func:`torch.nn.functional.scaled_dot_product_attention`: any device and any floating dtype."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    new, seen = q.shape[2], k.shape[2]
    if new == seen or not causal:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
    # PyTorch's own causal mask would take the first query for the first position. A single last one sees everything.
    mask = None if new == 1 else torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def flash_attention() -> Attention:
    """Attention by the flash-attn package: CUDA tensors in float16 or bfloat16 only (run the network under autocast).

    Its causal mask takes the last query for the last position, as `Attention` asks (flash-attn 2.1 and later).

    Raises:
        ImportError: flash-attn is not installed.
    """
    try:
        return importlib.import_module("flash_attn").flash_attn_func
    except ImportError as error:
        raise ImportError(
            "Expected the package flash-attn for `flash_attention=True`: install "
            "`discrete-diffusion-backbones[flash-attn]` or leave `flash_attention=False`."
        ) from error
