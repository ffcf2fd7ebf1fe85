"""Selective scan against the recurrence written out, and against the layout and the path of the kernel."""

import sys
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones import selective_scan as module
from discrete_diffusion.backbones.selective_scan import continue_scan, kernel_scan, selective_scan

BATCH, CHANNELS, STATE = 2, 3, 4


def draw(generator: torch.Generator, length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """u, delta, a, b, c and a state."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = [
        normal(BATCH, length, CHANNELS),
        F.softplus(normal(BATCH, length, CHANNELS)),
        -normal(CHANNELS, STATE).exp(),
        normal(BATCH, length, STATE),
        normal(BATCH, length, STATE),
        normal(BATCH, CHANNELS, STATE),
    ]
    return [value.to(dtype).requires_grad_() for value in values]


def recurrence(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The equation, a number at a time."""
    y, last = torch.zeros(u.shape, dtype=torch.float64), torch.zeros(state.shape, dtype=torch.float64)
    for i, e in product(range(BATCH), range(CHANNELS)):
        h = [float(value) for value in state[i, e]]
        for t in range(u.shape[1]):
            dt, x = float(delta[i, t, e]), float(u[i, t, e])
            h = [
                float(torch.tensor(dt * float(a[e, n]), dtype=torch.float64).exp()) * h[n] + dt * float(b[i, t, n]) * x
                for n in range(STATE)
            ]
            y[i, t, e] = sum(float(c[i, t, n]) * h[n] for n in range(STATE))
        last[i, e] = torch.tensor(h, dtype=torch.float64)
    return y, last


@pytest.mark.parametrize("length", [1, 16, 37])
def test_the_scan_is_the_recurrence(generator: torch.Generator, length: int) -> None:
    u, delta, a, b, c, state = (value.detach() for value in draw(generator, length))
    y, last = continue_scan(u, delta, a, b, c, state)
    expected, expected_last = recurrence(u, delta, a, b, c, state)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(last, expected_last, rtol=0, atol=1e-12)
    from_zero, _ = recurrence(u, delta, a, b, c, torch.zeros_like(state))
    torch.testing.assert_close(selective_scan(u, delta, a, b, c), from_zero, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [1, 3, 35])
def test_gradients_are_the_derivatives(generator: torch.Generator, length: int) -> None:
    assert torch.autograd.gradcheck(continue_scan, draw(generator, length), fast_mode=length > 3)


def test_gradients_of_the_parts_that_are_used(generator: torch.Generator) -> None:
    u, delta, a, b, c, state = draw(generator, 20)
    (of_state,) = torch.autograd.grad(continue_scan(u, delta, a, b, c, state)[1].sum(), state)
    torch.testing.assert_close(of_state, torch.exp(delta.sum(1)[..., None] * a), rtol=0, atol=1e-12)
    (of_u,) = torch.autograd.grad(selective_scan(u, delta, a, b, c)[:, 4].sum(), u)
    assert bool((of_u[:, 5:] == 0).all())
    assert bool((of_u[:, :5].abs().amax((0, 2)) > 0).all())


def test_long_sequences_and_large_steps_stay_finite_and_right(generator: torch.Generator) -> None:
    u, delta, a, b, c, state = (value.detach() for value in draw(generator, 600))
    y, last = continue_scan(u, 50 * delta, 20 * a, b, c, state)
    expected, expected_last = recurrence(u, 50 * delta, 20 * a, b, c, state)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(last, expected_last, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_are_held_in_float32(generator: torch.Generator, dtype: torch.dtype) -> None:
    *sequences, _ = (value.detach().to(dtype) for value in draw(generator, 40))
    expected = selective_scan(*(value.double() for value in sequences))
    with torch.autocast("cpu", torch.bfloat16):
        y, last = continue_scan(*sequences)
    assert (y.dtype, last.dtype) == (dtype, torch.float32)
    torch.testing.assert_close(
        y.double(), expected.to(dtype).double(), rtol=1e-2 if dtype != torch.float32 else 1e-4, atol=1e-4
    )


def kernel(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """What mamba-ssm computes, in its layout: positions last."""
    assert {x.dtype for x in (u, delta, a, b, c)} == {torch.float32}
    assert u.shape == delta.shape == (BATCH, CHANNELS, 9)
    assert b.shape == c.shape == (BATCH, STATE, 9)
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, a))
    entering = torch.einsum("bdl,bnl,bdl->bdln", delta, b, u)
    state, ys = torch.zeros(BATCH, CHANNELS, STATE), []
    for t in range(u.shape[2]):
        state = decay[:, :, t] * state + entering[:, :, t]
        ys.append(torch.einsum("bdn,bn->bd", state, c[:, :, t]))
    return torch.stack(ys, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_is_fed_its_layout(generator: torch.Generator, dtype: torch.dtype) -> None:
    *sequences, _ = (value.detach().to(dtype) for value in draw(generator, 9))
    y = kernel_scan(kernel, *sequences)
    assert y.dtype == dtype
    torch.testing.assert_close(y, selective_scan(*sequences), rtol=2e-2 if dtype != torch.float32 else 1e-4, atol=1e-4)


@pytest.mark.parametrize("installed", [False, True])
def test_the_kernel_is_found_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    module._kernel.cache_clear()
    interface: Any = SimpleNamespace(selective_scan_fn=kernel) if installed else None
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace() if installed else None)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", interface)
    assert module._kernel() is (kernel if installed else None)
    module._kernel.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_agrees_with_pytorch(generator: torch.Generator, dtype: torch.dtype) -> None:
    interface = pytest.importorskip("mamba_ssm.ops.selective_scan_interface")
    on_gpu = [value.detach().to("cuda", dtype).requires_grad_() for value in draw(generator, 200)[:-1]]
    expected = continue_scan(*on_gpu)[0]
    y = kernel_scan(interface.selective_scan_fn, *on_gpu)
    tolerance = 1e-3 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    weights = torch.randn(y.shape, generator=generator).to(y)
    gradients = [torch.autograd.grad((out * weights).sum(), on_gpu) for out in (y, expected)]
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
