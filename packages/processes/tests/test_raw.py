"""Predictions at visible positions."""

import pytest
import torch

from discrete_diffusion.processes import Absorbing, NetworkDenoiser, RawPrediction, Uniform
from discrete_diffusion.schedules import LogLinear

PROCESS = Absorbing(LogLinear(), 4, mask_id=3)
LOGITS = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))


def network(xt, sigma, at=None):
    logits = LOGITS[xt]
    return logits if at is None else logits[at]


class Wrapped:
    def __init__(self, base):
        self.base = base

    def __call__(self, xt, t, *, y=None, at=None):
        return self.base(xt, t, y=y, at=at)


def test_visible_tokens_are_rated_and_the_mask_is_excluded():
    denoiser = NetworkDenoiser(PROCESS, network)
    xt, t = torch.tensor([[0, 3, 2]]), torch.ones(1)
    raw = RawPrediction(PROCESS, Wrapped(Wrapped(denoiser)))(xt, t)
    expected = LOGITS[xt].masked_fill(torch.arange(4) == 3, -torch.inf).log_softmax(-1)
    torch.testing.assert_close(raw, expected)
    torch.testing.assert_close(raw[:, 1], denoiser(xt, t)[:, 1])
    assert not torch.equal(raw[:, 0], denoiser(xt, t)[:, 0])
    at = torch.tensor([[True, False, True]])
    torch.testing.assert_close(RawPrediction(PROCESS, denoiser)(xt, t, at=at), raw[at])


def test_other_noise_and_other_models_are_refused():
    denoiser = NetworkDenoiser(PROCESS, network)
    with pytest.raises(ValueError, match="Expected masked diffusion for raw predictions, got Uniform"):
        RawPrediction(Uniform(LogLinear(), 4), denoiser)
    with pytest.raises(ValueError, match="Expected a NetworkDenoiser, or wrappers of one, got function"):
        RawPrediction(PROCESS, network)
