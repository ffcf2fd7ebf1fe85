import torch

from discrete_diffusion.processes import AutoregressiveNLL, NextToken

V, BOS = 3, 0


def network(x, sigma, y=None, at=None):
    """A causal network without parameters: logits depend on the running sum of what it has read."""
    seen = x.cumsum(1)[..., None] * torch.tensor([0.3, -0.5, 0.7])
    logits = seen.sin() * 2 + (0 if y is None else y[:, None, None])
    return logits if at is None else logits[at]


def test_the_likelihood_sums_to_one():
    sequences = torch.cartesian_prod(*[torch.arange(V)] * 4)
    nll = AutoregressiveNLL().loss(NextToken(network, BOS), sequences)
    torch.testing.assert_close((-nll.sum(-1)).exp().sum(), torch.tensor(1.0))


def test_each_position_sees_what_stands_before_it():
    denoiser = NextToken(network, BOS)
    x = torch.tensor([[2, 1, 0, 2]])
    for position in range(4):
        prefix = torch.cat([torch.tensor([[BOS]]), x[:, :position]], 1)
        expected = network(prefix, None)[:, -1].log_softmax(-1)
        torch.testing.assert_close(denoiser(x)[:, position], expected)


def test_positions_and_labels_pass_through():
    denoiser = NextToken(network, BOS)
    x, at = torch.tensor([[2, 1, 0, 2]]), torch.tensor([[False, True, False, True]])
    torch.testing.assert_close(denoiser(x, at=at), denoiser(x)[at])
    terms = AutoregressiveNLL().terms(denoiser, x, torch.tensor([1]))
    assert terms.prior.sum() == terms.reconstruction.sum() == 0
    torch.testing.assert_close(terms.total, AutoregressiveNLL().loss(denoiser, x, torch.tensor([1])))
