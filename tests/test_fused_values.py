"""Fused losses of networks that are conditional on numbers."""

import pytest
import torch

from discrete_diffusion.backbones import DiT
from discrete_diffusion.processes import AutoregressiveNLL, ContinuousNELBO, NetworkDenoiser, NextToken, Uniform, fused
from discrete_diffusion.schedules import LogLinear

SIZES = {"vocab_size": 5, "hidden_size": 8, "num_blocks": 1, "num_heads": 2, "cond_size": 4, "num_values": 2}


@pytest.mark.parametrize("causal", [False, True])
def test_numbers_reach_the_output_layer_of_every_token(monkeypatch: pytest.MonkeyPatch, causal: bool):
    torch.manual_seed(0)
    network = DiT(**SIZES, causal=causal).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x0 = torch.randint(5, (4, 3))
    y = torch.tensor([[0.5, -1.0], [torch.nan, 2.0], [torch.nan, torch.nan], [3.0, 0.0]], dtype=torch.float64)
    process = Uniform(LogLinear(), 5)
    losses = []
    for above in (2**60, 0):
        monkeypatch.setattr(fused, "FUSED_ABOVE", above)
        monkeypatch.setattr(fused, "_CHUNK", {"cpu": 10})
        if causal:
            losses.append(AutoregressiveNLL().loss(NextToken(network, bos_id=0), x0, y))
        else:
            generator = torch.Generator().manual_seed(1)
            losses.append(ContinuousNELBO(process).loss(NetworkDenoiser(process, network), x0, y, generator=generator))
    torch.testing.assert_close(losses[1], losses[0])
    assert losses[0].std() > 0
