"""Sums over the vocabulary that the losses need, with gradients, in chunks of tokens.

A loss reads a few numbers per token: log p of one or two tokens, and under noise that leaves tokens uncertain one sum
over the vocabulary. Automatic differentiation would keep a tensor as large as the logits for every operation on the way
there. The function below reads the logits once forward and once backward, and holds one chunk of temporaries.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK = {"cpu": 2**18}  # numbers held at a time: in the cache of a processor,
_CHUNK_OF_DEVICE = 2**25  # or large enough to fill an accelerator


def log_probs_of(
    logits: Float[Tensor, "n v"],
    tokens: Int[Tensor, "m k"],
    *,
    rows: Int[Tensor, " m"] | None = None,
    excluded: int | None = None,
) -> Float[Tensor, "m k"]:
    """Return log softmax(logits) of k tokens per row.

    The result is float32 for logits of a lower precision. Differentiable once.

    Args:
        logits: Logits or log-probabilities of each row.
        tokens: Tokens whose log-probability is returned.
        rows: Row of `logits` for each row of `tokens`, without repetition; None for all in order.
        excluded: Token that has probability zero, whatever its logit.
    """
    return _TokenSums.apply(logits, tokens, rows, excluded, None, None, None)[0]


def log_probs_and_noised(
    logits: Float[Tensor, "n v"],
    tokens: Int[Tensor, "n k"],
    alpha: Float[Tensor, " n"],
    lost: Float[Tensor, " n"],
    noise: Float[Tensor, " v"],
) -> tuple[Float[Tensor, "n k"], Float[Tensor, " n"]]:
    """Return log p of k tokens per row, and E_pi[log m] for the prediction with noise, m = alpha p + (1 - alpha) pi.

    Results are float32 for logits of a lower precision. Differentiable once, by `logits` alone.

    Args:
        logits: Logits or log-probabilities of each row; p is their softmax.
        tokens: Tokens whose log-probability is returned.
        alpha: Probability that a token is kept.
        lost: 1 - alpha, a separate argument because the difference is inaccurate where it is small.
        noise: Noise distribution pi, positive.
    """
    alpha, lost, noise = (x.to(_dtype(logits)) for x in (alpha, lost, noise))
    return _TokenSums.apply(logits, tokens, None, None, alpha, lost, noise)


class _TokenSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        tokens: Tensor,
        rows: Tensor | None,
        excluded: int | None,
        alpha: Tensor | None,
        lost: Tensor | None,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        log_probs = logits.new_empty(tokens.shape, dtype=_dtype(logits))
        peak, total = (log_probs.new_empty(len(tokens), 1) for _ in range(2))
        noised = None if noise is None else log_probs.new_empty(len(tokens))
        for part, z in _chunks(logits, len(tokens), rows, excluded):
            peak[part] = z.amax(-1, keepdim=True)
            picked = z.gather(-1, tokens[part])
            weights = z.sub_(peak[part]).exp_()
            total[part] = weights.sum(-1, keepdim=True)
            log_probs[part] = picked - peak[part] - total[part].log()
            if noise is not None:
                assert alpha is not None
                assert lost is not None
                assert noised is not None
                m = weights.mul_(alpha[part, None] / total[part]).addcmul_(lost[part, None], noise)
                noised[part] = _positive(m).log_().mul_(noise).sum(-1)
        ctx.excluded = excluded
        ctx.save_for_backward(logits, tokens, peak, total, rows, alpha, lost, noise)
        return log_probs, noised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_log_probs: Tensor, grad_noised: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, tokens, peak, total, rows, alpha, lost, noise = ctx.saved_tensors
        gradient = torch.empty_like(logits) if rows is None else torch.zeros_like(logits)
        for part, z in _chunks(logits, len(tokens), rows, ctx.excluded):
            weights = z.sub_(peak[part]).exp_()
            pull = grad_log_probs[part].sum(-1, keepdim=True)
            if noise is None:
                slopes = weights.mul_(-pull / total[part])
            else:
                assert grad_noised is not None
                # pi alpha p / m, the derivative of the sum by log p.
                share = alpha[part, None] / total[part]
                slopes = weights / _positive(torch.mul(weights, share).addcmul_(lost[part, None], noise))
                slopes.mul_(noise).mul_(share * grad_noised[part, None])
                slopes.addcmul_(weights, -(pull + slopes.sum(-1, keepdim=True)) / total[part])
            slopes.scatter_add_(-1, tokens[part], grad_log_probs[part])
            if rows is None:
                gradient[part] = slopes
            else:
                gradient[rows[part]] = slopes.to(gradient.dtype)
        return gradient, None, None, None, None, None, None


def _chunks(
    logits: Tensor, count: int, rows: Tensor | None, excluded: int | None
) -> Iterator[tuple[slice, Float[Tensor, "c v"]]]:
    """Yield parts of the rows, each with a copy of its logits."""
    size = max(1, _CHUNK.get(logits.device.type, _CHUNK_OF_DEVICE) // logits.shape[-1])
    for start in range(0, count, size):
        part = slice(start, start + size)
        z = logits[part].to(_dtype(logits), copy=True) if rows is None else logits[rows[part]].to(_dtype(logits))
        if excluded is not None:
            z[:, excluded] = -torch.inf
        yield part, z


def _dtype(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _positive(m: Tensor) -> Tensor:
    # Only without noise can p underflow to zero here; the losses then give log m no weight.
    return m.clamp_(min=torch.finfo(m.dtype).tiny)
