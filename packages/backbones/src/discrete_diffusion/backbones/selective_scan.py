"""Selective state space of Mamba (Gu and Dao 2023, arXiv 2312.00752), in PyTorch or with the kernel of mamba-ssm."""

import importlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.backbones.layers import at_least_float32

_CHUNK = 16
"""Distance between the states stored for the backward pass, which recomputes the states in between."""


def selective_scan(
    u: Float[Tensor, "b l e"],
    delta: Float[Tensor, "b l e"],
    a: Float[Tensor, "e n"],
    b: Float[Tensor, "b l n"],
    c: Float[Tensor, "b l n"],
) -> Float[Tensor, "b l e"]:
    """Apply a linear state space of size n, with input-dependent coefficients, to every channel of `u`.

        h_t = exp(delta_t a) h_{t-1} + delta_t b_t u_t,    y_t = <c_t, h_t>,    h_0 = 0,

    This is equation 2 of arXiv 2312.00752 with its discretization: exact for a, Euler for b. The states have at least
    float32 precision. CUDA tensors use the kernel of mamba-ssm if it is installed; all others use
    :func:`continue_scan`.

    Args:
        u: Input.
        delta: Step sizes > 0.
        a: Rates < 0.
        b: Input coefficients of the states.
        c: Output coefficients of the states.
    """
    kernel = _kernel() if u.is_cuda and at_least_float32(u.dtype) == torch.float32 else None
    if kernel is not None:
        return kernel_scan(kernel, u, delta, a, b, c)
    return continue_scan(u, delta, a, b, c)[0]


def continue_scan(
    u: Float[Tensor, "b l e"],
    delta: Float[Tensor, "b l e"],
    a: Float[Tensor, "e n"],
    b: Float[Tensor, "b l n"],
    c: Float[Tensor, "b l n"],
    state: Float[Tensor, "b e n"] | None = None,
) -> tuple[Float[Tensor, "b l e"], Float[Tensor, "b e n"]]:
    """Return y of :func:`selective_scan` with h_0 = `state` (None means zero), and the last state.

    This is a loop over the positions in PyTorch. It stores every 16th state for the backward pass and recomputes the
    others. Gradients flow through `state` and the returned state; second derivatives are not supported.
    """
    wide = at_least_float32(u.dtype)
    if state is None:
        state = u.new_zeros(u.shape[0], u.shape[2], a.shape[1], dtype=wide)
    y, state = _Scan.apply(u.to(wide), delta.to(wide), a.to(wide), b.to(wide), c.to(wide), state.to(wide))
    return y.to(u.dtype), state


def kernel_scan(
    kernel: Callable[..., Tensor],
    u: Float[Tensor, "b l e"],
    delta: Float[Tensor, "b l e"],
    a: Float[Tensor, "e n"],
    b: Float[Tensor, "b l n"],
    c: Float[Tensor, "b l n"],
) -> Float[Tensor, "b l e"]:
    """Return y of mamba-ssm's ``selective_scan_fn``, which requires a single dtype and positions on the last axis."""
    y = kernel(
        *(x.float().transpose(1, 2) for x in (u, delta)), a.float(), *(x.float().transpose(1, 2) for x in (b, c))
    )
    return y.transpose(1, 2).to(u.dtype)


@cache
def _kernel() -> Callable[..., Tensor] | None:
    try:
        return importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    except ImportError:
        return None


class _Scan(torch.autograd.Function):
    """Loop over the positions. States are (b, n, e), so that the innermost axis is the longest."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor) -> Any:
        with torch.autocast(u.device.type, enabled=False):
            rates, h = a.T.contiguous(), state.transpose(1, 2).contiguous()
            kept, ys = [], []
            for t, (dt, w, bt, ct) in enumerate(_positions(delta, delta * u, b, c)):
                if t % _CHUNK == 0:
                    kept.append(h)
                h = torch.addcmul((dt[:, None] * rates).exp_().mul_(h), bt[..., None], w[:, None])
                ys.append(ct[:, None] @ h)
        ctx.save_for_backward(u, delta, a, b, c, *kept)
        return torch.cat(ys, 1), h.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_state: Tensor) -> Any:
        u, delta, a, b, c, *kept = ctx.saved_tensors
        with torch.autocast(u.device.type, enabled=False):
            rates, grad_h = a.T.contiguous(), grad_state.transpose(1, 2).clone(memory_format=torch.contiguous_format)
            grad_rates = torch.zeros_like(rates)
            grads = []
            positions = list(_positions(delta, delta * u, b, c, grad_y))
            for chunk in reversed(range(len(kept))):
                chunk_positions = positions[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                decays, states = [], [kept[chunk]]
                for dt, w, bt, *_ in chunk_positions:
                    decays.append((dt[:, None] * rates).exp_())
                    states.append(torch.addcmul(decays[-1] * states[-1], bt[..., None], w[:, None]))
                steps = zip(chunk_positions, decays, pairwise(states), strict=True)
                for (dt, w, bt, ct, gy), decay, (before, after) in reversed(list(steps)):
                    grad_h.addcmul_(ct[..., None], gy[:, None])
                    grad_c, grad_b = gy[:, None] @ after.transpose(1, 2), w[:, None] @ grad_h.transpose(1, 2)
                    grad_w = bt[:, None] @ grad_h
                    grad_h.mul_(decay)
                    grad_exponent = grad_h * before
                    grads.append((grad_w, (grad_exponent * rates).sum(1, keepdim=True), grad_b, grad_c))
                    grad_rates += (grad_exponent * dt[:, None]).sum(0)
            grad_w, grad_delta, grad_b, grad_c = (torch.cat(x[::-1], 1) for x in zip(*grads, strict=True))
        return grad_w * delta, grad_delta + grad_w * u, grad_rates.T, grad_b, grad_c, grad_h.transpose(1, 2)


def _positions(*sequences: Tensor) -> Any:
    return zip(*(sequence.unbind(1) for sequence in sequences), strict=True)
