"""Classifiers and regressors of corrupted sequences, exact ones among them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.processes import Classifier, Regressor


def exact_network(world, shift=0.0):
    """log p(y | x_t) as a network would know it: from x_t and sigma, and up to a constant."""

    def network(x, sigma):
        (alpha,) = (-sigma).exp().unique().tolist()
        return world.oracle.classifier(alpha)[world.oracle.index(x)].log() + shift

    return network


def test_the_exact_classifier_is_read_at_the_noise_level_of_t(world):
    possible = world.oracle.posterior(0.5).sum(-1) > 0
    x = world.oracle.sequences[possible]
    for level in (0.1, 0.5, 0.9):
        t = torch.full((len(x),), level, dtype=torch.float64)
        alpha = world.schedule.alpha(t)[0].item()
        expected = world.oracle.classifier(alpha)[possible]
        result = Classifier(world.process, exact_network(world, shift=3.0))(x, t)
        torch.testing.assert_close(result.exp(), expected, rtol=1e-9, atol=1e-9)


def test_classes_of_all_sequences_average_to_the_prior(log_linear_world):
    """sum over x_t of q(x_t) p(y | x_t) = p(y): the noise level is the one that x_t was drawn at."""
    world = log_linear_world
    t = torch.full((len(world.oracle.sequences),), 0.6, dtype=torch.float64)
    distribution = world.oracle.joint @ world.oracle.corruption(world.schedule.alpha(t)[0].item())
    possible = distribution > 0
    log_p = Classifier(world.process, exact_network(world))(world.oracle.sequences[possible], t[possible])
    torch.testing.assert_close(distribution[possible] @ log_p.exp(), world.oracle.joint @ world.oracle.likelihood)


@given(level=st.floats(0.01, 1.0), other=st.floats(0.0, 1.0))
def test_without_a_process_time_means_nothing(level, other):
    seen = []

    def network(x, sigma):
        seen.append(sigma)
        return torch.stack([x.double().sum(-1), x.double()[:, 0]], -1)

    x, t = torch.tensor([[0, 1, 2], [2, 2, 1]]), torch.tensor([level, other], dtype=torch.float64)
    expected = torch.tensor([[3.0, 0.0], [5.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(Classifier(None, network)(x, t), expected.log_softmax(-1))
    torch.testing.assert_close(Regressor(None, network)(x, t), expected)
    assert all(torch.equal(sigma, torch.zeros(2, dtype=torch.float64)) for sigma in seen)


def test_the_regressor_is_what_the_network_says_at_the_noise_level(log_linear_world):
    world = log_linear_world

    def network(x, sigma):
        return torch.stack([x.double().mean(-1), -sigma], -1)

    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    result = Regressor(world.process, network)(torch.tensor([[0, 1, 2], [2, 2, 2]]), t)
    expected = torch.stack([torch.tensor([1.0, 2.0], dtype=torch.float64), world.schedule.alpha(t).log()], -1)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("kind_of_input", ["one-hots", "hidden states"])
def test_what_stands_for_the_sequence_is_the_networks_affair(log_linear_world, generator, kind_of_input):
    weights = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)
    if kind_of_input == "one-hots":
        x = torch.nn.functional.one_hot(x.argmax(-1), 3).double()
    x.requires_grad_()
    classifier = Classifier(log_linear_world.process, lambda x, sigma: (x @ weights).mean(1) / (1 + sigma[:, None]))
    log_p = classifier(x, torch.full((4,), 0.3, dtype=torch.float64))
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(4, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(log_p[:, 1].sum(), x)
    assert bool((gradient.abs().sum((1, 2)) > 0).all())
