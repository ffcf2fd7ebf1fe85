import copy

import torch

from discrete_diffusion.guidance import CountEvaluations


def test_counts_rows_and_calls_and_passes_everything_through():
    def network(xt, sigma, y=None, at=None):
        return xt, sigma, y, at

    counted = CountEvaluations(network)
    xt, sigma, y, at = torch.zeros(3, 2), torch.ones(3), torch.ones(3), torch.ones(3, 2)
    assert counted(xt, sigma, y, at=at) == (xt, sigma, y, at)
    assert (counted.rows, counted.calls) == (3, 1)
    counted(xt[:2], sigma[:2])
    assert (counted.rows, counted.calls) == (5, 2)
    counted.reset()
    assert (counted.rows, counted.calls) == (0, 0)


class Opened:
    """A network that can be opened and continued."""

    def __call__(self, xt, sigma):
        return xt

    def encode(self, xt, sigma, y=None):
        return xt, sigma, y

    def decode(self, hidden, sigma, y=None, at=None):
        return hidden, sigma, y, at

    def extend(self, tokens, sigma, y=None, past=None):
        return tokens, sigma, y, past


def test_counts_what_runs_the_body_of_the_network():
    counted = CountEvaluations(Opened())
    x, sigma, y = torch.zeros(3, 2), torch.ones(3), torch.ones(3)
    assert counted.encode(x, sigma, y=y) == (x, sigma, y)
    assert (counted.rows, counted.calls) == (3, 1)
    assert counted.extend(x[:2], sigma[:2], past="past")[3] == "past"
    assert (counted.rows, counted.calls) == (5, 2)
    # The last layer alone is not a pass.
    assert counted.decode(x, sigma, at=y) == (x, sigma, None, y)
    counted(x, sigma)
    assert (counted.rows, counted.calls) == (8, 3)


def test_has_only_what_the_network_has():
    counted = CountEvaluations(lambda xt: xt)
    assert not any(hasattr(counted, name) for name in ("encode", "decode", "extend"))
    counted = CountEvaluations(Opened())
    assert all(callable(getattr(counted, name)) for name in ("encode", "decode", "extend"))
    for name in ("forward", "next_token", "left_to_right", "base"):
        assert not hasattr(counted, name)


def test_is_copied_with_its_counts():
    counted = CountEvaluations(Opened())
    counted.encode(torch.zeros(3, 2), torch.ones(3))
    copied = copy.deepcopy(counted)
    copied.encode(torch.zeros(1, 2), torch.ones(1))
    assert (counted.rows, copied.rows) == (3, 4)


def test_counts_every_candidate_of_a_prefix_classifier():
    class Prefixes:
        causal = True

        def __call__(self, x, sigma):
            return x

        def candidates(self, prefix, tokens, sigma, past=None):
            return tokens, past

    counted = CountEvaluations(Prefixes())
    assert counted.causal
    counted.candidates(torch.zeros(3, 2), torch.zeros(3, 4), torch.zeros(3), None)
    assert (counted.rows, counted.calls) == (12, 1)
    assert not hasattr(CountEvaluations(lambda x: x), "candidates")
