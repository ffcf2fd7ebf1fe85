"""The diffusion loss against its textbook form, jump by jump over the vocabulary: `uv run just bench`."""

import pytest
import torch
from torch import Tensor

from discrete_diffusion.processes import Absorbing, Uniform
from discrete_diffusion.schedules import LogLinear

B, L = 32, 128


def inputs(vocab_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, L, vocab_size, generator=generator).requires_grad_()
    x0 = torch.randint(1, vocab_size, (B, L), generator=generator)
    t = torch.rand(B, generator=generator) * 0.999 + 1e-3
    return logits, x0, Uniform(LogLinear(), vocab_size).corrupt(x0, t, generator=generator), t


def textbook_udlm(logits: Tensor, x0: Tensor, xt: Tensor, t: Tensor) -> Tensor:
    """UDLM's bound (arXiv 2412.10193) as it is printed, with explicit one-hots."""
    v, schedule = logits.shape[-1], LogLinear()
    alpha, rate = schedule.alpha(t)[:, None, None], schedule.alpha_prime(t)[:, None, None]
    clean, noisy = (torch.nn.functional.one_hot(x, v).float() for x in (x0, xt))
    q = v * alpha * clean + 1 - alpha
    m = v * alpha * logits.softmax(-1) + 1 - alpha
    q_xt, m_xt = (q * noisy).sum(-1, keepdim=True), (m * noisy).sum(-1, keepdim=True)
    jumps = (q / q_xt * (torch.log(q / q_xt) - torch.log(m / m_xt))).sum(-1, keepdim=True)
    return -(rate / (v * alpha) * (v / m_xt - v / q_xt) + rate / (v * alpha) * jumps).squeeze(-1)


@pytest.mark.parametrize("vocab_size", [40, 4096])
@pytest.mark.parametrize("form", ["ours", "textbook"])
def test_udlm_loss_and_gradient(benchmark, vocab_size: int, form: str):
    logits, x0, xt, t = inputs(vocab_size)
    process = Uniform(LogLinear(), vocab_size)

    def ours() -> Tensor:
        return process.diffusion_loss(process.log_x0(logits, xt), x0, xt, t)

    def textbook() -> Tensor:
        return textbook_udlm(logits, x0, xt, t)

    torch.testing.assert_close(ours(), textbook(), rtol=1e-2, atol=1e-2)
    function = {"ours": ours, "textbook": textbook}[form]
    benchmark(lambda: torch.autograd.grad(function().mean(), logits))


@pytest.mark.parametrize("vocab_size", [40, 4096])
def test_mdlm_loss_and_gradient(benchmark, vocab_size: int):
    logits, x0, _, t = inputs(vocab_size)
    process = Absorbing(LogLinear(), vocab_size, mask_id=0)
    xt = process.corrupt(x0, t, generator=torch.Generator().manual_seed(0))
    benchmark(lambda: torch.autograd.grad(process.diffusion_loss(process.log_x0(logits, xt), x0, xt, t).mean(), logits))
