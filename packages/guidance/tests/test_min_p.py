import math

import pytest
import torch

from discrete_diffusion.guidance import MinP

XT, T = torch.zeros(1, 2, dtype=torch.int64), torch.tensor([0.5])
PROBS = torch.tensor([0.5, 0.25, 0.2, 0.05, 0.0], dtype=torch.float64)


def base(xt, t):
    return PROBS.log().expand(*xt.shape, 5)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1, [1, 0, 0, 0, 0]), (0.5, [2 / 3, 1 / 3, 0, 0, 0]), (0.4, [0.5, 0.25, 0.2]), (0.01, [0.5, 0.25, 0.2, 0.05])],
)
def test_keeps_tokens_with_a_share_of_the_highest_probability(p, expected):
    expected = torch.tensor([*expected, *[0.0] * (5 - len(expected))], dtype=torch.float64)
    # The threshold 0.4 x 0.5 is the probability of a token, and rounding would decide about it.
    got = MinP(base, p - 1e-9 if p == 0.4 else p)(XT, T).exp()
    torch.testing.assert_close(got, (expected / expected.sum()).expand(1, 2, 5))


def test_zero_is_the_identity():
    assert torch.equal(MinP(base, 0)(XT, T), base(XT, T))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_share_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match="Expected 0 <= `p` <= 1"):
        MinP(base, p)
