"""Remasking kernels, as matrices."""

import itertools

import pytest
import torch

from discrete_diffusion.processes import Absorbing, Ancestral, Capped, Remasking, Rescaled, Uniform
from discrete_diffusion.schedules import LogLinear

MASK = 2
RATES = [Capped(0.0), Capped(0.2), Capped(1.0), Rescaled(0.5), Rescaled(1.0)]
STEPS = [(1.0, 0.9), (0.7, 0.2), (0.4, 0.39), (0.5, 0.0), (1.0, 0.0)]


def knows(token):
    """Make a denoiser that is certain of the clean token."""

    def denoiser(xt, t, y=None):
        return torch.nn.functional.one_hot(torch.full_like(xt, token), 3).double().log()

    return denoiser


def token_kernel(kernel, t, s):
    """The (3, 3) matrix of one step of one token."""
    xt = torch.arange(3)[:, None]
    times = torch.full((3,), t, dtype=torch.float64)
    return kernel(xt, times, torch.full_like(times, s))[:, 0].exp()


def noisy(schedule, token, t):
    """q(x_t | x_0) of one token."""
    alpha = schedule.alpha(torch.tensor(t, dtype=torch.float64)).item() if t > 0 else 1.0
    row = torch.zeros(3, dtype=torch.float64)
    row[token], row[MASK] = alpha, 1 - alpha
    return row


@pytest.mark.parametrize("rate", RATES, ids=repr)
@pytest.mark.parametrize(("t", "s"), STEPS)
def test_a_step_keeps_the_marginal_of_the_forward_process(schedule, rate, t, s):
    for token in (0, 1):
        kernel = Remasking(Absorbing(schedule, 3, MASK), knows(token), rate)
        step = token_kernel(kernel, t, s)
        reachable = [token, MASK]
        torch.testing.assert_close(step[reachable].sum(-1), torch.ones(2, dtype=torch.float64))
        got = noisy(schedule, token, t)[reachable] @ step[reachable]
        torch.testing.assert_close(got, noisy(schedule, token, s), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("t", "s"), STEPS)
def test_without_remasking_the_kernel_is_ancestral(oracle, schedule, t, s):
    process = Absorbing(schedule, 3, MASK)
    world = oracle.random(3, 3, torch.tensor([0.0, 0.0, 1.0]), mask_id=MASK)
    xt, times = world.sequences, torch.full((27,), t, dtype=torch.float64)

    def denoiser(xt, t, y=None):
        return world.denoiser(0.5)[world.index(xt)].log()

    plain = Ancestral(process, denoiser)(xt, times, torch.full_like(times, s))
    kernel = Remasking(process, denoiser, Capped(0.0))(xt, times, torch.full_like(times, s))
    torch.testing.assert_close(kernel.exp(), plain.exp(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("rate", [Capped(0.5), Rescaled(0.7)], ids=repr)
def test_revealed_tokens_are_masked_again_until_the_last_step(rate):
    kernel = Remasking(Absorbing(LogLinear(), 3, MASK), knows(0), rate)
    assert token_kernel(kernel, 0.6, 0.5)[0, MASK] > 0.1
    assert token_kernel(kernel, 0.6, 0.0)[:, MASK].sum() == 0


def test_the_loop_remasks_at_constant_survival():
    schedule = LogLinear()
    kernel = Remasking(Absorbing(schedule, 3, MASK), knows(1), Capped(0.3), loop=(0.6, 0.2, 0.4))
    plateau = token_kernel(kernel, 0.5, 0.3)
    expected = noisy(schedule, 1, 0.4)
    assert plateau[1, MASK].item() == pytest.approx(0.3)
    torch.testing.assert_close(expected[[1, MASK]] @ plateau[[1, MASK]], expected, atol=1e-9, rtol=0)
    assert token_kernel(kernel, 0.9, 0.7)[1, MASK] == 0
    row = noisy(schedule, 1, 1.0)
    times = [1.0, 0.8, 0.6, 0.5, 0.4, 0.2, 0.1, 0.0]
    for t, s in itertools.pairwise(times):
        row = row[[1, MASK]] @ token_kernel(kernel, t, s)[[1, MASK]]
        level = {0.6: 0.4, 0.5: 0.4, 0.4: 0.4, 0.2: 0.4}.get(s)
        if level is not None:
            torch.testing.assert_close(row, noisy(schedule, 1, level), atol=1e-9, rtol=0)
    torch.testing.assert_close(row, noisy(schedule, 1, 0.0), atol=1e-9, rtol=0)


@pytest.mark.parametrize("rate", [Capped(0.02), Rescaled(0.05)], ids=repr)
def test_sampling_tends_to_the_data(oracle, rate):
    process = Absorbing(LogLinear(), 3, MASK)
    world = oracle.random(3, 3, torch.tensor([0.0, 0.0, 1.0]), mask_id=MASK)

    def denoiser(xt, t, y=None):
        return world.denoiser(0.5)[world.index(xt)].log()

    errors = []
    for steps in (8, 16, 32):
        distribution = world.distribution(Remasking(process, denoiser, rate), torch.linspace(1, 0, steps + 1).tolist())
        errors.append((distribution - world.joint).abs().sum().item() / 2)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


def test_a_step_is_normalized_and_finite_in_float32(schedule, generator):
    process = Absorbing(schedule, 6, mask_id=0)
    for t in (1.0, 0.5, 1e-3):
        times = torch.full((16,), t)
        xt = torch.randint(6, (16, 5), generator=generator)
        log_x0 = process.log_x0(30 * torch.randn(16, 5, 6, generator=generator), xt)
        for s in (0.0, t / 3, 0.999 * t):
            kernel = Remasking(process, lambda xt, t, x=log_x0: x, Rescaled(0.9))(xt, times, torch.full((16,), s))
            assert not kernel.isnan().any()
            torch.testing.assert_close(kernel.exp().sum(-1), torch.ones(16, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Capped(1.5), "Expected 0 <= `eta` <= 1, got 1.5."),
        (lambda: Rescaled(-0.1), "Expected 0 <= `eta` <= 1, got -0.1."),
        (lambda: Remasking(Uniform(LogLinear(), 4), knows(0), Capped(0.1)), "Expected masked diffusion"),
        (
            lambda: Remasking(Absorbing(LogLinear(), 3, 2), knows(0), Capped(0.1), loop=(0.2, 0.6, 0.4)),
            "Expected 1 > start > stop > 0",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
