"""Losses fused with the output layer, against the losses of all logits."""

import pytest
import torch

from discrete_diffusion.processes import (
    Absorbing,
    AutoregressiveNLL,
    ContinuousNELBO,
    CrossEntropy,
    DiscreteNELBO,
    Marginal,
    Mean,
    NetworkDenoiser,
    NextToken,
    TokenwiseNetwork,
    Uniform,
    fused,
)
from discrete_diffusion.schedules import LogLinear

B, L, V = 6, 5, 7
PROCESSES = {
    "absorbing": Absorbing(LogLinear(), V, mask_id=2),
    "uniform": Uniform(LogLinear(), V),
    "uniform-mean": Uniform(LogLinear(), V, Mean()),
    "marginal": Marginal(LogLinear(), [1.0 + i for i in range(V)]),
}
OBJECTIVES = {
    "continuous": ContinuousNELBO,
    "discrete": lambda process: DiscreteNELBO(process, steps=4),
    "cross-entropy": CrossEntropy,
}


class CountedNetwork:
    """Network that records the number of tokens whose logits exist at once."""

    def __init__(self, network):
        self.network, self.vocab_size, self.decoded = network, network.vocab_size, []

    def __call__(self, xt, sigma, y=None, at=None):
        return self.network(xt, sigma, y, at)

    def encode(self, xt, sigma, y=None):
        return self.network.encode(xt, sigma, y)

    def decode(self, hidden, sigma, y=None, at=None):
        return self.network.decode(hidden, sigma, y, at)

    def decode_tokens(self, hidden, sigma, y=None):
        self.decoded.append(len(hidden))
        return self.network.decode_tokens(hidden, sigma, y)


@pytest.fixture
def x0(generator):
    return torch.randint(V, (B, L), generator=generator)


def gradients(network, loss, weights):
    network.zero_grad()
    (loss * weights).sum().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def both(monkeypatch, network, objective, denoiser, x0, y=None):
    """Loss and gradients of all logits at once, and of chunks of two tokens."""
    weights = torch.linspace(-1, 2, x0.numel()).view(x0.shape)
    results = []
    for above in (2**60, 0):
        monkeypatch.setattr(fused, "FUSED_ABOVE", above)
        monkeypatch.setattr(fused, "_CHUNK", {"cpu": 2 * V})
        loss = objective.loss(denoiser, x0, y, generator=torch.Generator().manual_seed(3))
        results.append((loss, gradients(network, loss, weights)))
    return results


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", PROCESSES)
def test_diffusion_losses_and_their_gradients(monkeypatch, tiny_network, x0, name, objective, dtype):
    network, process = tiny_network(V, causal=False).to(dtype), PROCESSES[name]
    y = torch.arange(B) % 2
    counted = CountedNetwork(network)
    assert isinstance(counted, TokenwiseNetwork)
    denoiser = NetworkDenoiser(process, counted)
    plain, chunked = both(monkeypatch, network, OBJECTIVES[objective](process), denoiser, x0, y)
    assert max(counted.decoded) <= 2
    assert len(plain[1]) > 3
    # Float32 losses are computed from times near 0 and 1, where their weights are large.
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(chunked[0], plain[0], **tolerance)
    torch.testing.assert_close(chunked[1], plain[1], **tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_autoregressive_loss_and_its_gradients(monkeypatch, tiny_network, x0, dtype):
    network = tiny_network(V, causal=True).to(dtype)
    counted = CountedNetwork(network)
    model, y = NextToken(counted, bos_id=0), torch.arange(B) % 2
    plain, chunked = both(monkeypatch, network, AutoregressiveNLL(), model, x0, y)
    assert max(counted.decoded) <= 2
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(chunked[0], plain[0], **tolerance)
    torch.testing.assert_close(chunked[1], plain[1], **tolerance)


@pytest.mark.parametrize("name", PROCESSES)
def test_terms_of_the_bound(monkeypatch, tiny_network, x0, name):
    denoiser = NetworkDenoiser(PROCESSES[name], tiny_network(V, causal=False))
    objective, results = ContinuousNELBO(PROCESSES[name]), []
    for above in (2**60, 0):
        monkeypatch.setattr(fused, "FUSED_ABOVE", above)
        with torch.no_grad():
            results.append(objective.terms(denoiser, x0, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-10)


def test_no_token_to_decode(monkeypatch, tiny_network, x0):
    monkeypatch.setattr(fused, "FUSED_ABOVE", 0)
    process = PROCESSES["absorbing"]
    monkeypatch.setattr(Absorbing, "corrupt", lambda self, x0, t, generator=None: x0.clamp(min=3))
    loss = ContinuousNELBO(process).loss(NetworkDenoiser(process, tiny_network(V, causal=False)), x0)
    assert torch.equal(loss, torch.zeros_like(loss))
    loss.sum().backward()


def test_small_vocabularies_keep_one_pass(tiny_network, x0):
    counted = CountedNetwork(tiny_network(V, causal=False))
    ContinuousNELBO(PROCESSES["uniform"]).loss(NetworkDenoiser(PROCESSES["uniform"], counted), x0)
    assert counted.decoded == []
