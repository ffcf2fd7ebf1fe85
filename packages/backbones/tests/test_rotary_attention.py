"""Rotary positions and the two attentions."""

import math
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones import DiT
from discrete_diffusion.backbones.attention import flash_attention, sdpa_attention
from discrete_diffusion.backbones.rotary import rotary_tables, rotate


def draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_rotary_products_depend_on_the_distance_alone(generator: torch.Generator) -> None:
    length, size = 9, 6
    cos, sin = rotary_tables(length, size, device=torch.device("cpu"), dtype=torch.float64)
    q = rotate(draw(generator, 1, 1, 1, size).expand(1, length, 1, size), cos, sin)[0, :, 0]
    k = rotate(draw(generator, 1, 1, 1, size).expand(1, length, 1, size), cos, sin)[0, :, 0]
    products = q @ k.T
    for offset in range(-length + 1, length):
        diagonal = products.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert len({round(float(products.diagonal(offset)[0]), 9) for offset in range(-length + 1, length)}) == 17


def test_rotation_is_multiplication_by_a_complex_number(generator: torch.Generator) -> None:
    length, size = 5, 8
    x = draw(generator, 2, length, 3, size)
    cos, sin = rotary_tables(length, size, device=torch.device("cpu"), dtype=torch.float64)
    angle = torch.tensor([[m * 10_000 ** (-2 * i / size) for i in range(size // 2)] for m in range(length)])
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.exp(1j * angle.double())[:, None]
    torch.testing.assert_close(rotate(x, cos, sin), torch.cat((turned.real, turned.imag), -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_sdpa_is_softmax_attention(generator: torch.Generator, causal: bool) -> None:
    q, k, v = (draw(generator, 2, 5, 3, 4) for _ in range(3))
    scores = torch.einsum("bqhk,bshk->bhqs", q, k) / math.sqrt(4)
    if causal:
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
    expected = torch.einsum("bhqs,bshk->bqhk", scores.exp() / scores.exp().sum(-1, keepdim=True), v)
    torch.testing.assert_close(sdpa_attention(q, k, v, causal=causal), expected, rtol=0, atol=1e-12)


def test_flash_attention_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(ImportError, match=r"install `discrete-diffusion-backbones\[flash-attn\]`"):
        DiT(vocab_size=7, hidden_size=8, num_blocks=1, num_heads=2, flash_attention=True)


@pytest.mark.parametrize("causal", [False, True])
def test_flash_attention_is_used_on_request(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, causal: bool
) -> None:
    calls: list[tuple[int, ...]] = []

    def flash_attn_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
    ) -> Tensor:
        calls.append(tuple(q.shape))
        q, k, v = (tensor.permute(0, 2, 1, 3) for tensor in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, scale=softmax_scale, is_causal=causal)
        return out.permute(0, 2, 1, 3)

    module = ModuleType("flash_attn")
    module.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    plain = DiT(vocab_size=7, hidden_size=8, num_blocks=3, num_heads=2, causal=causal).double().eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(draw(generator, *parameter.shape))
    flash = DiT(vocab_size=7, hidden_size=8, num_blocks=3, num_heads=2, causal=causal, flash_attention=True).double()
    flash.eval().load_state_dict(plain.state_dict())
    xt, sigma = torch.randint(7, (2, 5), generator=generator), torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(flash(xt, sigma), plain(xt, sigma), rtol=0, atol=1e-10)
    assert calls == [(2, 5, 2, 4)] * 3
    assert flash_attention() is flash_attn_func
