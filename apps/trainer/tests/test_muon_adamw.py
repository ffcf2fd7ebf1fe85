from functools import partial

import pytest
import torch
from torch import nn

from discrete_diffusion.trainer.muon_adamw import MuonAdamW

ADAMW = partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.0)
MUON = partial(torch.optim.Muon, lr=3e-2, weight_decay=0.0)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def descend(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        model(x).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_each_parameter_is_updated_by_its_own_optimizer():
    ours, apart = network(), network()
    descend(ours, [MuonAdamW(ours.named_parameters(), matrices=r"0\.weight", muon=MUON, adamw=ADAMW)], 5)
    rest = [parameter for name, parameter in apart.named_parameters() if name != "0.weight"]
    descend(apart, [MUON([apart[0].weight]), ADAMW(rest)], 5)
    for got, expected in zip(ours.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(got, expected)


def test_a_schedule_reaches_both():
    model = network()
    optimizer = MuonAdamW(model.named_parameters(), matrices=r"0\.weight", muon=MUON, adamw=ADAMW)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    before = [parameter.clone() for parameter in model.parameters()]
    descend(model, [optimizer], 2)
    for got, expected in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(got, expected)


def test_its_state_is_saved_and_restored():
    whole, halved = network(), network()
    make = partial(MuonAdamW, matrices=r"\d\.weight", muon=MUON, adamw=ADAMW)
    descend(whole, [make(whole.named_parameters())], 6)
    first = make(halved.named_parameters())
    descend(halved, [first], 3)
    second = make(halved.named_parameters())
    second.load_state_dict(first.state_dict())
    descend(halved, [second], 3)
    for got, expected in zip(halved.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(got, expected)


def test_a_pattern_without_a_match_is_refused():
    with pytest.raises(ValueError, match="to match a parameter, but it matches none"):
        MuonAdamW(network().named_parameters(), matrices="blocks", muon=MUON, adamw=ADAMW)
