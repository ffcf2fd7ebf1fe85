import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.schedules import Cosine, CosineSquared, Geometric, Linear, LogLinear, Polynomial, Schedule

EPS = 1e-3
SCHEDULES: dict[
    Schedule, Callable[[float], float]
] = {  # the schedule, and alpha(t) written down once more with plain numbers
    LogLinear(): (lambda t: 1 - (1 - EPS) * t),
    Cosine(): (lambda t: EPS + (1 - EPS) * math.cos(math.pi * t / 2)),
    CosineSquared(): (lambda t: EPS + (1 - EPS) * math.cos(math.pi * t / 2) ** 2),
    Linear(): (lambda t: math.exp(-(1e-3 + (7.0 - 1e-3) * t))),
    Geometric(): (lambda t: math.exp(-(1e-4 ** (1 - t)) * 20.0**t)),
    Polynomial(): (lambda t: 1 - (1 - EPS) * t**2),
    Polynomial(power=3.5, eps=0.05): (lambda t: 1 - 0.95 * t**3.5),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
times = st.floats(0, 1)


@every_schedule
@given(t=times)
def test_alpha_is_the_published_formula(schedule, t):
    assert math.isclose(
        schedule.alpha(torch.tensor(t, dtype=torch.float64)).item(), SCHEDULES[schedule](t), rel_tol=1e-9
    )


@every_schedule
@given(t=times)
def test_alpha_prime_is_the_derivative(schedule, t):
    t = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(schedule.alpha(t), t)
    torch.testing.assert_close(schedule.alpha_prime(t), expected, rtol=1e-8, atol=1e-10)


@every_schedule
@given(t=st.floats(1e-3, 1))
def test_inverse_undoes_alpha(schedule, t):
    t = torch.tensor(t, dtype=torch.float64)
    assert math.isclose(schedule.inverse(schedule.alpha(t)).item(), t.item(), abs_tol=1e-6)
    alpha = schedule.alpha(t)
    torch.testing.assert_close(schedule.alpha(schedule.inverse(alpha)), alpha)


@every_schedule
def test_sigma_keeps_its_digits_near_the_data(schedule):
    t = torch.tensor([1e-4, 1e-3, 1e-2])
    expected = [-math.log(SCHEDULES[schedule](float(x))) for x in t.double()]
    torch.testing.assert_close(schedule.sigma(t), torch.tensor(expected), rtol=1e-4, atol=1e-12)


@every_schedule
def test_alpha_decreases_and_keeps_shape_and_dtype(schedule):
    t = torch.linspace(0, 1, 101).reshape(1, 101)
    alpha = schedule.alpha(t)
    assert alpha.shape == t.shape
    assert alpha.dtype == t.dtype
    assert all(a > b for a, b in pairwise(alpha[0].tolist()))
    for value in (alpha, schedule.alpha_prime(t), schedule.sigma(t), schedule.inverse(alpha)):
        assert value.isfinite().all()


def test_where_alpha_starts_and_ends():
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    for schedule in (LogLinear(), Cosine(), CosineSquared(), Polynomial()):
        assert schedule.alpha(zero) == 1
        assert schedule.alpha(one).item() == pytest.approx(EPS, rel=1e-3)
    assert Linear().alpha(zero).item() == pytest.approx(math.exp(-1e-3))
    assert Geometric().alpha(zero).item() == pytest.approx(math.exp(-1e-4))


@pytest.mark.parametrize("kind", [LogLinear, Cosine, CosineSquared, Polynomial])
@pytest.mark.parametrize("eps", [0.0, 1.0, -1e-3, float("nan")])
def test_eps_is_checked(kind, eps):
    with pytest.raises(ValueError, match="Expected 0 < `eps` < 1"):
        kind(eps=eps)


@pytest.mark.parametrize("kind", [Linear, Geometric])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_sigmas_are_checked(kind, low, high):
    with pytest.raises(ValueError, match="Expected 0 < `sigma_min` < `sigma_max`"):
        kind(sigma_min=low, sigma_max=high)


def test_power_is_checked():
    with pytest.raises(ValueError, match="Expected `power` >= 1"):
        Polynomial(power=0.5)
