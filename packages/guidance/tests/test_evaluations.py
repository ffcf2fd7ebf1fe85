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
