"""Models that can be opened and continued."""

from dataclasses import replace

import pytest
import torch

from discrete_diffusion.processes import (
    Absorbing,
    CausalNextToken,
    LatentDenoiser,
    LatentNextToken,
    NetworkDenoiser,
    NextToken,
    Uniform,
)
from discrete_diffusion.schedules import LogLinear

V, BOS, LENGTH, EXACT = 4, 0, 5, {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def tokens(generator):
    return torch.randint(V, (6, LENGTH), generator=generator)


@pytest.fixture
def times(generator):
    return torch.rand(6, generator=generator, dtype=torch.float64)


@pytest.fixture
def labels(generator):
    return torch.randint(2, (6,), generator=generator)


@pytest.mark.parametrize("process", [Absorbing(LogLinear(), V, mask_id=3), Uniform(LogLinear(), V)], ids=repr)
@pytest.mark.parametrize("labeled", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_decode_of_encode_is_the_denoiser(tiny_network, tokens, times, labels, process, labeled, partial):
    denoiser = NetworkDenoiser(process, tiny_network(V, causal=False))
    y = labels if labeled else None
    at = tokens > 1 if partial else None
    hidden = denoiser.encode(tokens, times, y=y)
    assert hidden.shape == (6, LENGTH, 4)
    assert torch.equal(denoiser.decode(hidden, tokens, times, y=y, at=at), denoiser(tokens, times, y=y, at=at))
    moved = denoiser.decode(hidden + 0.1, tokens, times, y=y)
    assert not torch.allclose(moved, denoiser(tokens, times, y=y))
    torch.testing.assert_close(moved.exp().sum(-1), torch.ones_like(moved[..., 0]), **EXACT)


def test_a_moved_hidden_state_leaves_visible_tokens_where_they_are(tiny_network, tokens, times):
    denoiser = NetworkDenoiser(Absorbing(LogLinear(), V, mask_id=3), tiny_network(V, causal=False))
    moved = denoiser.decode(denoiser.encode(tokens, times) + 5.0, tokens, times)
    assert bool((moved[..., 3] == -torch.inf)[tokens == 3].all())
    assert torch.equal(moved.argmax(-1)[tokens != 3], tokens[tokens != 3])
    assert bool((moved.amax(-1)[tokens != 3] == 0).all())


def test_gradients_reach_the_hidden_state(tiny_network, tokens, times):
    denoiser = NetworkDenoiser(Uniform(LogLinear(), V), tiny_network(V, causal=False))
    hidden = denoiser.encode(tokens, times).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(denoiser.decode(hidden, tokens, times)[..., 0].sum(), hidden)
    assert bool((gradient.abs().sum(-1) > 0).all())


@pytest.mark.parametrize("labeled", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_decode_of_encode_is_the_autoregressive_model(tiny_network, tokens, times, labels, labeled, partial):
    model = NextToken(tiny_network(V, causal=True), BOS)
    y = labels if labeled else None
    at = tokens > 1 if partial else None
    hidden = model.encode(tokens, times, y=y)
    assert torch.equal(model.decode(hidden, tokens, times, y=y, at=at), model(tokens, times, y=y, at=at))
    assert torch.equal(model.encode(tokens, y=y), hidden)  # time means nothing


def test_hidden_states_have_seen_what_stands_before(tiny_network, tokens):
    model = NextToken(tiny_network(V, causal=True), BOS)
    for i in range(LENGTH):
        other = tokens.clone()
        other[:, i] = (other[:, i] + 1) % V
        changed = (model.encode(other) - model.encode(tokens)).abs().amax(-1)
        assert bool((changed[:, : i + 1] == 0).all())
        assert bool((changed[:, i + 1 :] > 0).all())


@pytest.mark.parametrize("split", range(1, LENGTH))
def test_a_continued_model_is_the_model(tiny_network, tokens, labels, split):
    model = NextToken(tiny_network(V, causal=True), BOS)
    fed = torch.cat([torch.full((6, 1), BOS), tokens[:, :-1]], 1)
    first, past = model.extend(fed[:, :split], None, y=labels)
    second, past = model.extend(fed[:, split:], past, y=labels)
    assert past[0][0].shape == (6, 1, LENGTH, 4)
    hidden = torch.cat([first, second], 1)
    torch.testing.assert_close(hidden, model.encode(tokens, y=labels), **EXACT)
    torch.testing.assert_close(model.next_token(hidden, y=labels), model(tokens, y=labels), **EXACT)


def test_a_plain_function_can_be_neither_opened_nor_continued(tiny_network):
    def function(xt, sigma):
        return torch.zeros(*xt.shape, V)

    process = Uniform(LogLinear(), V)
    for model in (NetworkDenoiser(process, function), NextToken(function, BOS)):
        assert not isinstance(model, LatentDenoiser | LatentNextToken)
        assert model(torch.zeros(2, LENGTH, dtype=torch.int64), torch.ones(2)).shape == (2, LENGTH, V)
    network = tiny_network(V, causal=True)
    assert type(NetworkDenoiser(process, network)) is LatentDenoiser
    assert type(NextToken(network, BOS)) is CausalNextToken


def test_a_network_that_can_be_opened_but_not_continued_makes_a_latent_model():
    class Open:
        def __call__(self, xt, sigma, y=None, at=None):
            return torch.zeros(*xt.shape, V)

        def encode(self, xt, sigma, y=None):
            return torch.zeros(*xt.shape, 2)

        def decode(self, hidden, sigma, y=None, at=None):
            return torch.zeros(*hidden.shape[:-1], V)

    assert type(NextToken(Open(), BOS)) is LatentNextToken


def test_another_network_changes_what_the_model_can_do(tiny_network):
    plain = NetworkDenoiser(Uniform(LogLinear(), V), lambda xt, sigma: torch.zeros(*xt.shape, V))
    assert type(replace(plain, network=tiny_network(V, causal=False))) is LatentDenoiser


def test_only_left_to_right_models_declare_the_direction():
    assert NextToken(torch.nn.Identity(), BOS).left_to_right is True
    assert not hasattr(NetworkDenoiser(Uniform(LogLinear(), V), torch.nn.Identity()), "left_to_right")
