"""Softmax attention softmax(q k^T / sqrt(k)) v, by PyTorch or by flash-attn."""

import importlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Attention = Callable[..., Tensor]
"""``(q, k, v, *, causal) -> out``, each (batch, length, heads, head size).

There may be fewer queries than keys. The queries are then the last positions, and causal attention covers all keys up
to each query.
"""


def sdpa_attention(
    q: Float[Tensor, "b l h k"],
    k: Float[Tensor, "b m h k"],
    v: Float[Tensor, "b m h k"],
    *,
    causal: bool,
    mask: Bool[Tensor, "l m"] | None = None,
) -> Float[Tensor, "b l h k"]:
    """Compute attention with torch's ``scaled_dot_product_attention``, on any device and in any floating dtype.

    A mask, true at the keys that a query attends to, replaces `causal`.
    """
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if mask is not None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    new, seen = q.shape[2], k.shape[2]
    if new == seen or not causal:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
    # PyTorch's causal mask aligns the first query with the first key. A single last query attends to every key.
    mask = None if new == 1 else torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def flash_attention() -> Attention:
    """Return the attention of flash-attn, for CUDA tensors in float16 or bfloat16 (run the network under autocast).

    Its causal mask aligns the last query with the last key, as `Attention` requires (flash-attn 2.1 and later).

    Raises:
        ImportError: If flash-attn is not installed.
    """
    try:
        return importlib.import_module("flash_attn").flash_attn_func
    except ImportError as error:
        raise ImportError(
            "Expected the package flash-attn for `flash_attention=True`: install "
            "`discrete-diffusion-backbones[flash-attn]` or leave `flash_attention=False`."
        ) from error
