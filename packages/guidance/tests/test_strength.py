import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.methods.classifier_free import ClassifierFree
from discrete_diffusion.guidance.strength import (
    CosineRamp,
    Interval,
    Ramp,
    check_strength,
    strength_at,
    strength_range,
)

TIMES = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (2, [2, 2, 2, 2, 2]),
        (0.5, [0.5] * 5),
        (Ramp(1.0, 5.0), [1, 2, 3, 4, 5]),
        (Ramp(4, 0), [4, 3, 2, 1, 0]),
        (CosineRamp(1.0, 5.0), [1, 3 - math.sqrt(2), 3, 3 + math.sqrt(2), 5]),
        (Interval(3.0, 0.25, 0.5), [0, 0, 3, 3, 0]),
        (Interval(Ramp(1.0, 5.0), 0.5, 1.0, outside=CosineRamp(1, 5)), [1, 2, 3, 3 + math.sqrt(2), 5]),
        (lambda t: t**2, [1, 0.5625, 0.25, 0.0625, 0]),
    ],
)
def test_known_values(gamma, expected):
    torch.testing.assert_close(strength_at(gamma, TIMES), torch.tensor(expected, dtype=torch.float64))
    low, high = strength_range(gamma, TIMES)
    assert (low, high) == pytest.approx((min(expected), max(expected)))


@given(start=st.floats(0, 10), end=st.floats(0, 10), t=st.floats(0, 1))
def test_both_ramps_stay_between_their_ends(start, end, t):
    low, high = sorted((start, end))
    for ramp in (Ramp(start, end), CosineRamp(start, end)):
        value = ramp(torch.tensor([t], dtype=torch.float64)).item()
        assert low - 1e-9 <= value <= high + 1e-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_dtype_follows_the_times_or_the_argument(dtype):
    t = torch.tensor([0.2, 0.8], dtype=dtype)
    for gamma in (2.5, Ramp(1.0, 2.0), CosineRamp(1.0, 2.0), Interval(1.5, 0.2, 0.8)):
        assert strength_at(gamma, t).dtype == dtype
        assert strength_at(gamma, t, torch.float64).dtype == torch.float64
    # The ends belong to the interval in any precision.
    assert strength_at(Interval(1.5, 0.2, 0.8), t).tolist() == [1.5, 1.5]


def test_a_number_keeps_its_precision_beside_coarse_times():
    assert strength_at(0.1, torch.ones(1), torch.float64).item() == 0.1
    assert strength_range(0.1, torch.ones(1)) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: check_strength(-1.0), r"Expected a finite `gamma` >= 0, got -1\.0\."),
        (lambda: check_strength(math.nan, "outside"), "finite `outside` >= 0, got nan"),
        (lambda: Ramp(-1.0, 2.0), r"finite `start` >= 0, got -1\.0\."),
        (lambda: Ramp(1.0, math.inf), "finite `end` >= 0, got inf"),
        (lambda: CosineRamp(math.nan, 1.0), "finite `start` >= 0, got nan"),
        (lambda: CosineRamp(1.0, -2), "finite `end` >= 0, got -2"),
        (lambda: Interval(-1.0, 0.0, 1.0), "finite `gamma` >= 0"),
        (lambda: Interval(1.0, 0.0, 1.0, outside=-1.0), "finite `outside` >= 0"),
        (lambda: Interval(1.0, 0.6, 0.4), r"0 <= `first` <= `last` <= 1, got 0\.6 and 0\.4\."),
        (lambda: Interval(1.0, -0.1, 0.4), "0 <= `first`"),
        (lambda: Interval(1.0, 0.1, 1.4), "`last` <= 1"),
        (lambda: strength_range(lambda t: -t, TIMES), r"finite strengths >= 0 from `gamma`, got -1\.0 to"),
        (lambda: strength_range(lambda t: 1 / t, TIMES), "finite strengths >= 0 from `gamma`"),
        (lambda: strength_range(lambda t: t / 0 * 0, TIMES), "finite strengths >= 0 from `gamma`, got nan"),
        (lambda: strength_at(lambda t: t.sum(), TIMES), r"one strength per row, \(5,\), got \(\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Classifier-free guidance, its strength a function of time.

NULL = 2
XT = torch.tensor([[0, 1], [2, 3], [1, 1]])
Y = torch.tensor([0, 1, 0])
TABLE = torch.randn(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log_softmax(-1)


def denoiser(xt, t, *, y, at=None):
    rows = TABLE[y[:, None], xt] + 0 * t[:, None, None]
    return rows if at is None else rows[at]


@pytest.mark.parametrize("at", [None, torch.tensor([[True, True], [False, False], [False, True]])])
def test_classifier_free_guides_each_row_by_its_own_time(at):
    t = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    base = CountEvaluations(denoiser)
    guided = ClassifierFree(base, Ramp(0, 4), NULL)(XT, t, y=Y, at=at)
    assert (base.calls, base.rows) == (1, 6)
    expected = torch.cat([ClassifierFree(denoiser, 4 * (1 - time), NULL)(XT, t, y=Y)[None] for time in t.tolist()])
    expected = expected[torch.arange(3), torch.arange(3)]
    torch.testing.assert_close(guided, expected if at is None else expected[at])


def test_classifier_free_makes_the_passes_that_some_row_needs():
    base = CountEvaluations(denoiser)
    guided = ClassifierFree(base, Interval(1.0, 0.4, 0.6, outside=0.0), NULL)
    null = torch.full_like(Y, NULL)
    for time, label in ((0.9, null), (0.5, Y), (0.1, null)):
        base.reset()
        t = torch.full((3,), time)
        assert torch.equal(guided(XT, t, y=Y), denoiser(XT, t, y=label))
        assert (base.calls, base.rows) == (1, 3)
    t = torch.tensor([0.9, 0.5, 0.1])
    base.reset()
    both = guided(XT, t, y=Y)
    assert (base.calls, base.rows) == (1, 6)
    torch.testing.assert_close(both, denoiser(XT, t, y=torch.tensor([NULL, 1, NULL])))
    # Where no row needs the labels, none are required.
    assert torch.equal(guided(XT, torch.full((3,), 0.9)), denoiser(XT, t, y=null))
