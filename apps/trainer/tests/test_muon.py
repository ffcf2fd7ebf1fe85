import pytest
import torch
from torch import nn

from discrete_diffusion.trainer import muon
from discrete_diffusion.trainer.muon import Muon, fast_dtype, orthogonalized

SHAPES = [(6, 4), (6, 4), (4, 6), (5, 5)]
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def descend(optimizer: type[torch.optim.Optimizer], steps: int = 4, **options: object) -> list[nn.Parameter]:
    parameters = matrices()
    made = optimizer(parameters, lr=0.02, **options)
    for _ in range(steps):
        made.zero_grad()
        sum((p.square().sum() + p[0, 0] ** 3) * (i + 1) for i, p in enumerate(parameters)).backward()
        made.step()
    return parameters


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nesterov": False},
        {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"},
        {"momentum": 0.5, "ns_steps": 3, "adjust_lr_fn": "original"},
    ],
    ids=str,
)
def test_the_update_is_that_of_torch(options: dict[str, object], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(muon, "fast_dtype", lambda device: torch.bfloat16)
    for got, expected in zip(descend(Muon, **options), descend(torch.optim.Muon, **options), strict=True):
        torch.testing.assert_close(got, expected, atol=2e-3, rtol=0)  # products in bfloat16 round in another order


def test_float32_takes_nearly_the_same_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(muon, "fast_dtype", lambda device: torch.float32)
    for got, expected in zip(descend(Muon), descend(torch.optim.Muon), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-2, rtol=0)


def test_singular_values_come_near_one():
    x = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalized(x, COEFFICIENTS, 5, 1e-7))
    assert values.min() > 0.5
    assert values.max() < 1.5
    left, _, right = torch.linalg.svd(x, full_matrices=False)
    assert ((orthogonalized(x, COEFFICIENTS, 5, 1e-7) * (left @ right)).sum((1, 2)) > 4).all()


def test_a_matrix_is_orthogonalized_as_it_is_alone():
    x = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(2))
    together = orthogonalized(x, COEFFICIENTS, 5, 1e-7)
    for one, expected in zip(x, together, strict=True):
        torch.testing.assert_close(orthogonalized(one[None], COEFFICIENTS, 5, 1e-7)[0], expected)


def test_parameters_without_a_gradient_stay():
    parameters = matrices()
    before = parameters[1].clone()
    parameters[0].sum().backward()
    Muon(parameters, lr=0.1).step()
    assert torch.equal(parameters[1], before)
    assert not torch.equal(parameters[0], matrices()[0])


@pytest.mark.parametrize(
    ("capability", "has_products", "dtype"),
    [
        ("AVX512", True, torch.bfloat16),
        ("AVX512", False, torch.float32),
        ("AVX2", True, torch.float32),
        ("DEFAULT", False, torch.float32),
    ],
)
def test_the_precision_follows_the_processor(capability, has_products, dtype, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_products)
    assert fast_dtype(torch.device("cpu")) == dtype
    assert fast_dtype(torch.device("cuda")) == torch.bfloat16
