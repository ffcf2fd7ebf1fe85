import pytest
import torch

from discrete_diffusion.processes import Absorbing, Ancestral, Marginal, Mean, NetworkDenoiser, Uniform
from discrete_diffusion.schedules import LogLinear


def every_sequence(world, t):
    xt = world.oracle.sequences
    return xt, torch.full((len(xt),), t, dtype=torch.float64)


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.7, 0.2), (0.4, 0.39), (0.5, 0.0), (1.0, 0.0)])
def test_the_kernel_of_the_exact_denoiser_is_bayes_rule(world, t, s):
    xt, times = every_sequence(world, t)
    alpha_t = world.schedule.alpha(times[0]).item()
    alpha_s = world.schedule.alpha(torch.tensor(s, dtype=torch.float64)).item() if s > 0 else 1.0
    kernel = Ancestral(world.process, world.denoiser)
    expected = world.oracle.bayes_kernel(alpha_t, alpha_s)
    torch.testing.assert_close(kernel(xt, times, torch.full_like(times, s)).exp(), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("process", [Uniform(LogLinear(), 3), Marginal(LogLinear(), [0.5, 0.3, 0.2])], ids=["u", "m"])
def test_misreading_the_network_breaks_bayes_rule(oracle, process):
    noise = process.log_noise(torch.zeros((), dtype=torch.float64)).exp()
    world = oracle.random(3, 3, noise)
    mean = world.denoiser(0.5)[world.index(world.sequences)].log()
    t = torch.full((27,), 0.5005005, dtype=torch.float64)
    misread = process.log_posterior(mean, world.sequences, t, t / 2).exp()
    exact = world.bayes_kernel(process.schedule.alpha(t)[0].item(), process.schedule.alpha(t / 2)[0].item())
    assert (misread - exact).abs().max() > 0.02


def test_sampling_tends_to_the_data_at_first_order(log_linear_world):
    world = log_linear_world
    kernel = Ancestral(world.process, world.denoiser)
    errors = []
    for steps in (8, 16, 32):
        distribution = world.oracle.distribution(kernel, torch.linspace(1, 0, steps + 1).tolist())
        errors.append((distribution - world.oracle.joint).abs().sum().item() / 2)
    assert errors[0] > errors[1] > errors[2]
    assert 1.6 < errors[1] / errors[2] < 2.4
    assert errors[2] < 0.03


def test_conditioning_passes_through(oracle):
    seen = {}

    def network(xt, sigma, **optional):
        seen.update(optional, sigma=sigma)
        n = xt.shape if "at" not in optional else (int(optional["at"].sum()),)
        return torch.zeros(*n, 5)

    process = Absorbing(LogLinear(), 5, mask_id=4)
    denoiser = NetworkDenoiser(process, network)
    xt, t, y = torch.tensor([[4, 1, 4]]), torch.tensor([0.5]), torch.tensor([1])
    assert denoiser(xt, t).shape == (1, 3, 5)
    assert set(seen) == {"sigma"}
    torch.testing.assert_close(seen["sigma"], -torch.log(1 - 0.999 * t))
    at = torch.tensor([[True, True, False]])
    torch.testing.assert_close(denoiser(xt, t, y=y, at=at), denoiser(xt, t, y=y)[at])
    assert seen["y"] is y
    kernel = Ancestral(process, denoiser)
    assert kernel(xt, t, t / 2, y=y).shape == (1, 3, 5)


def test_subs_forbids_the_mask_and_carries_tokens_over(generator):
    process = Absorbing(LogLinear(), 4, mask_id=3)
    logits = torch.randn(1, 3, 4, generator=generator)
    probabilities = process.log_x0(logits, torch.tensor([[3, 0, 2]])).exp()
    torch.testing.assert_close(probabilities[0, 0], torch.cat([logits[0, 0, :3].softmax(-1), torch.zeros(1)]))
    assert probabilities[0, 1].tolist() == [1, 0, 0, 0]
    assert probabilities[0, 2].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("t", [1.0, 0.5, 1e-3])
def test_kernels_are_normalised_and_finite_in_float32(kind, schedule, t, generator):
    process = {
        "absorbing": Absorbing(schedule, 6, mask_id=0),
        "uniform": Uniform(schedule, 6),
        "uniform-mean": Uniform(schedule, 6, Mean()),
        "marginal": Marginal(schedule, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        "marginal-mean": Marginal(schedule, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], Mean()),
    }[kind]
    times = torch.full((16,), t)
    xt = process.prior((16, 5), generator=generator)
    log_x0 = process.log_x0(30 * torch.randn(16, 5, 6, generator=generator), xt)
    for s in (0.0, t / 3, 0.999 * t):
        kernel = process.log_posterior(log_x0, xt, times, torch.full((16,), s))
        assert not kernel.isnan().any()
        torch.testing.assert_close(kernel.exp().sum(-1), torch.ones(16, 5), atol=1e-5, rtol=0)


def test_every_process_draws_its_own_corruption(world, generator):
    x0 = torch.tensor([[0, 1, 0, 1]]).expand(4000, 4)
    t, before = torch.full((4000,), 0.6), torch.get_rng_state()
    xt = world.process.corrupt(x0, t, generator=generator)
    assert torch.equal(before, torch.get_rng_state())
    distribution = world.oracle.token_corruption(world.schedule.alpha(torch.tensor(0.6)).item())
    for token in (0, 1):
        counts = torch.bincount(xt[x0 == token], minlength=3).double()
        expected = 8000 * distribution[token]
        possible = expected > 0
        assert counts[~possible].sum() == 0
        chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
        assert chi_square < 13.8  # the 99.9 % point with 2 degrees of freedom
    prior = world.process.prior((9000,), generator=generator)
    assert (torch.bincount(prior, minlength=3) / 9000 - world.oracle.noise).abs().max() < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Absorbing(LogLinear(), 5, mask_id=5), "Expected 0 <= `mask_id` < `vocab_size` = 5, got 5."),
        (lambda: Uniform(LogLinear(), 1), "Expected `vocab_size` >= 2, got 1."),
        (lambda: Marginal(LogLinear(), [0.5, 0.0]), "positive numbers"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
