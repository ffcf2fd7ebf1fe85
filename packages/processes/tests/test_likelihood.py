"""Terms of each bound, by enumeration."""

import math
from itertools import pairwise

import pytest
import torch

from discrete_diffusion.processes import (
    Absorbing,
    Ancestral,
    ContinuousNELBO,
    CrossEntropy,
    DiscreteNELBO,
    Marginal,
    Mean,
    NetworkDenoiser,
    Uniform,
)
from discrete_diffusion.schedules import IndependentTimes, LogLinear, LowDiscrepancyTimes


def gauss_legendre(n):
    """Nodes and weights on [-1, 1], by the eigenvalues of the Jacobi matrix (Golub and Welsch)."""
    k = torch.arange(1, n, dtype=torch.float64)
    beside = k / (4 * k**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return nodes.tolist(), (2 * vectors[0] ** 2).tolist()


def explicit_rate(world, log_x0, x0, xt, t):
    """The relative entropy rate of the reverse jump processes of one token, jump by jump."""
    alpha = world.schedule.alpha(t).item()
    beta = -world.schedule.alpha_prime(t).item() / alpha
    noise = world.oracle.noise
    q = alpha * torch.nn.functional.one_hot(x0, 3).double() + (1 - alpha) * noise
    m = alpha * log_x0.exp() + (1 - alpha) * noise
    total = 0.0
    for v in range(3):
        if v != xt:
            true, model = (beta * noise[xt] * distribution[v] / distribution[xt] for distribution in (q, m))
            total += (model - true + (true * (true / model).log() if true > 0 else 0.0)).item()
    return total


def leave_one_out(world, log_x0, xt, t):
    return world.process.leave_one_out(log_x0, xt, t)


@pytest.mark.parametrize("time", [1.0, 0.6, 0.05])
def test_diffusion_loss_is_the_sum_over_jumps(world, time):
    sequences = world.oracle.sequences
    t = torch.full((27,), time, dtype=torch.float64)
    log_x0 = world.denoiser(sequences, t)
    meant = leave_one_out(world, log_x0, sequences, t)
    clean = [i for i in range(27) if world.oracle.joint[i] > 0]
    for i in clean[::3]:
        x0 = sequences[i].expand(27, 3)
        reachable = world.oracle.corruption(world.schedule.alpha(t[0]).item())[i] > 0
        loss = world.process.diffusion_loss(log_x0, x0, sequences, t)
        for j in reachable.nonzero().flatten().tolist()[::4]:
            for position in range(3):
                expected = explicit_rate(world, meant[j, position], x0[j, position], sequences[j, position], t[0])
                assert loss[j, position].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("time", "earlier"), [(1.0, 0.9), (0.6, 0.3), (0.1, 0.0)])
def test_step_loss_is_the_explicit_kl(world, time, earlier):
    sequences, oracle = world.oracle.sequences, world.oracle
    t = torch.full((27,), time, dtype=torch.float64)
    s = torch.full_like(t, earlier)
    alpha_t = world.schedule.alpha(t[0]).item()
    alpha_s = world.schedule.alpha(s[0]).item() if earlier > 0 else 1.0
    log_x0 = world.denoiser(sequences, t)
    model = oracle.bayes_kernel(alpha_t, alpha_s)
    forward, step = oracle.token_corruption(alpha_s), oracle.token_corruption(alpha_t / alpha_s)
    x0 = sequences[[i for i in range(27) if oracle.joint[i] > 0][4]]
    loss = world.process.step_loss(log_x0, x0.expand(27, 3), sequences, t, s)
    for j in (oracle.corruption(alpha_t)[oracle.index(x0)] > 0).nonzero().flatten().tolist():
        for position in range(3):
            true = forward[x0[position]] * step[:, sequences[j, position]]
            true = true / true.sum()
            terms = [p * math.log(p / q) for p, q in zip(true.tolist(), model[j, position].tolist(), strict=True) if p]
            assert loss[j, position].item() == pytest.approx(sum(terms), rel=1e-6, abs=1e-9)


def expectation(world, x0, t, loss):
    """E over q(x_t | x_0), by enumeration, of the summed loss."""
    sequences = world.oracle.sequences
    times = torch.full((27,), t, dtype=torch.float64)
    weights = world.oracle.corruption(world.schedule.alpha(times[0]).item())[world.oracle.index(x0)]
    per_token = loss(world.denoiser(sequences, times), x0.expand(27, 3), sequences, times)
    return (weights * torch.where(weights > 0, per_token.sum(-1), 0.0)).sum().item()


def test_the_bound_of_the_exact_denoiser_is_the_likelihood(world):
    """In continuous time jumps come one by one, so the exact denoiser leaves no gap but that of the two ends."""
    t_min, process = 1e-5, world.process
    nodes, weights = gauss_legendre(24)
    x0 = world.oracle.sequences[[i for i in range(27) if world.oracle.joint[i] > 0][3]]
    prior = process.prior_loss(world.denoiser, x0[None].expand(27, 3)).double().mean(0).sum().item()
    # integrated over alpha, where the integrand is smooth for every schedule
    ends = [world.schedule.alpha(torch.tensor(t, dtype=torch.float64)).item() for t in (1.0, t_min)]
    diffusion = 0.0
    pieces = [ends[0] + share * (ends[1] - ends[0]) for share in (0, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999, 1)]
    for low, high in pairwise(pieces):
        for node, weight in zip(nodes, weights, strict=True):
            alpha = torch.tensor((low + high) / 2 + (high - low) / 2 * node, dtype=torch.float64)
            t = world.schedule.inverse(alpha)
            rate = expectation(world, x0, t.item(), process.diffusion_loss)
            diffusion += weight * (high - low) / 2 * rate / -world.schedule.alpha_prime(t).item()

    def reconstruct(log_x0, x0, xt, t):
        return process.step_loss(log_x0, x0, xt, t, torch.zeros_like(t))

    reconstruction = expectation(world, x0, t_min, reconstruct)
    exact = -math.log(world.oracle.joint[world.oracle.index(x0)].item())
    assert prior + diffusion + reconstruction == pytest.approx(exact, abs=3e-3)
    assert prior >= 0
    assert reconstruction >= 0


def test_the_bound_of_a_chain_bounds_the_distribution_of_its_sampler(log_linear_world):
    world, steps = log_linear_world, 6
    kernel = Ancestral(world.process, world.denoiser)
    distribution = world.oracle.distribution(kernel, torch.linspace(1, 0, steps + 1).tolist())
    for i in [i for i in range(27) if world.oracle.joint[i] > 0][::3]:
        x0 = world.oracle.sequences[i]
        bound = world.process.prior_loss(world.denoiser, x0[None].expand(27, 3)).double().mean(0).sum().item()
        for k in range(1, steps + 1):
            s = torch.full((27,), (k - 1) / steps, dtype=torch.float64)
            bound += expectation(world, x0, k / steps, lambda *a, s=s: world.process.step_loss(*a, s))
        assert -math.log(distribution[i].item()) - 2e-3 <= bound <= -math.log(distribution[i].item()) + 1.0


def test_steps_tend_to_continuous_time(world):
    x0 = world.oracle.sequences[[i for i in range(27) if world.oracle.joint[i] > 0][2]]
    t, steps = 0.5, 100_000
    s = torch.full((27,), t - 1 / steps, dtype=torch.float64)
    step = steps * expectation(world, x0, t, lambda *a: world.process.step_loss(*a, s))
    assert step == pytest.approx(expectation(world, x0, t, world.process.diffusion_loss), rel=1e-3)


def test_prior_loss_is_the_explicit_kl(world):
    x0 = torch.tensor([[0, 1, 0]])
    alpha = world.schedule.alpha(torch.tensor(1.0, dtype=torch.float64)).item()
    loss = world.process.prior_loss(lambda xt, t: torch.full((1, 3, 3), 0.5).log(), x0)
    for position, token in enumerate([0, 1, 0]):
        if isinstance(world.process, Absorbing):
            expected = alpha * math.log(2)
        else:
            q, pi = world.oracle.token_corruption(alpha)[token], world.oracle.noise
            expected = (q * (q / pi).log()).sum().item()
        assert loss[0, position].item() == pytest.approx(expected, rel=1e-3, abs=1e-7)


def processes(schedule, v=6):
    return [
        Absorbing(schedule, v, mask_id=0),
        Uniform(schedule, v),
        Uniform(schedule, v, Mean()),
        Marginal(schedule, [1.0 + i for i in range(v)]),
        Marginal(schedule, [1.0 + i for i in range(v)], Mean()),
    ]


def test_losses_and_gradients_are_finite_at_the_ends(schedule, generator):
    for process in processes(schedule):
        x0 = torch.randint(1, 6, (64, 5), generator=generator)
        for time, earlier in ((1.0, 0.99), (1 / 32, 0.0), (1e-3, 0.0), (1e-3, 5e-4)):
            t, s = torch.full((64,), time), torch.full((64,), earlier)
            xt = process.corrupt(x0, t, generator=generator)
            logits = (10 * torch.randn(64, 5, 6, generator=generator)).requires_grad_()
            log_x0 = process.log_x0(logits, xt)
            losses = [process.diffusion_loss(log_x0, x0, xt, t), process.step_loss(log_x0, x0, xt, t, s)]
            for loss in losses:
                assert loss.isfinite().all()
                assert loss.min() > -1e-3
                (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
                assert gradient.isfinite().all()


def test_diffusion_loss_is_finite_at_time_zero(schedule, generator):
    for process in processes(schedule):
        x0 = torch.randint(1, 6, (8, 5), generator=generator)
        log_x0 = process.log_x0(torch.randn(8, 5, 6, generator=generator), x0)
        # the mean holds the noisy token's own evidence, which is infinite where there is no noise
        t = 1e-6 if getattr(process, "parameterization", None) == Mean() else 0.0
        assert process.diffusion_loss(log_x0, x0, x0, torch.full((8,), t)).isfinite().all()


@pytest.mark.parametrize("times", [IndependentTimes(1e-2), LowDiscrepancyTimes(1e-2)], ids=["independent", "low"])
def test_the_estimates_are_unbiased(log_linear_world, times, generator):
    """A network that ignores time, so that a batch may hold many times: the average of many draws is the integral."""
    process, v = log_linear_world.process, 3
    table = torch.randn(27, 3, v, generator=generator)

    def network(xt, sigma):
        return table[log_linear_world.oracle.index(xt)]

    denoiser = NetworkDenoiser(process, network)
    x0 = torch.tensor([[0, 1, 1]]).expand(20_000, 3)
    draws = ContinuousNELBO(process, times).terms(denoiser, x0, generator=generator)
    world = log_linear_world
    world.denoiser = lambda xt, t: denoiser(xt, t.float()).double()
    nodes, weights = gauss_legendre(40)
    expected = sum(
        w * 0.495 * expectation(world, x0[0], 0.505 + 0.495 * node, process.diffusion_loss)
        for node, w in zip(nodes, weights, strict=True)
    )
    per_row = draws.diffusion.sum(-1).double()
    assert per_row.mean().item() == pytest.approx(expected, abs=5 * per_row.std().item() / math.sqrt(20_000))
    zero = torch.zeros(27, dtype=torch.float64)
    expected = expectation(world, x0[0], 0.01, lambda *a: process.step_loss(*a, zero))
    per_row = draws.reconstruction.sum(-1).double()
    assert per_row.mean().item() == pytest.approx(expected, abs=5 * per_row.std().item() / math.sqrt(20_000) + 1e-4)
    assert torch.equal(draws.total, draws.prior + draws.diffusion + draws.reconstruction)

    chain = DiscreteNELBO(process, 4)
    expected = sum(
        expectation(world, x0[0], k / 4, lambda *a, k=k: process.step_loss(*a, zero + (k - 1) / 4)) for k in range(1, 5)
    )
    terms = chain.terms(denoiser, x0, generator=generator)
    for estimate in (chain.loss(denoiser, x0, generator=generator), terms.diffusion + terms.reconstruction):
        per_row = estimate.sum(-1).double()
        assert per_row.mean().item() == pytest.approx(expected, abs=5 * per_row.std().item() / math.sqrt(20_000))


@pytest.mark.parametrize("backwards", [False, True], ids=["as-is", "reversed"])
@pytest.mark.parametrize(
    "objective",
    [
        lambda process: ContinuousNELBO(process, LowDiscrepancyTimes(1e-2)),
        lambda process: ContinuousNELBO(process, IndependentTimes(1e-2)),
        lambda process: DiscreteNELBO(process, 4),
        lambda process: CrossEntropy(process, LowDiscrepancyTimes(1e-2)),
    ],
    ids=["continuous", "independent", "discrete", "cross-entropy"],
)
def test_the_estimate_of_every_row_is_unbiased(objective, backwards, generator):
    """The loss of a row does not depend on its place in the batch: equal rows have equal means, in any order."""
    process, batches = Uniform(LogLinear(), 3), 300
    table = torch.randn(3, 3, generator=generator)
    denoiser = NetworkDenoiser(process, lambda xt, sigma: table[xt])
    x0 = torch.tensor([[0, 1, 1], [2, 2, 2], [0, 1, 1], [2, 2, 2]])
    x0 = x0.flip(0) if backwards else x0
    chosen = objective(process)
    for estimate in (chosen.loss, lambda *a, **k: chosen.terms(*a, **k).total):
        rows = torch.stack([estimate(denoiser, x0, generator=generator).sum(-1).double() for _ in range(batches)])
        for one, other in ((0, 2), (1, 3)):
            error = math.sqrt((rows[:, one].var() + rows[:, other].var()).item() / batches)
            assert rows[:, one].mean().item() == pytest.approx(rows[:, other].mean().item(), abs=5 * error)


def test_cross_entropy_is_the_average_surprise(generator):
    process = Uniform(LogLinear(), 4, Mean())
    x0 = torch.randint(4, (5, 3), generator=generator)
    objective = CrossEntropy(process)
    uniform = NetworkDenoiser(process, lambda xt, sigma: torch.zeros(*xt.shape, 4))
    loss = objective.loss(uniform, x0, generator=generator)
    torch.testing.assert_close(loss, torch.full((5, 3), math.log(4)))
    terms = objective.terms(uniform, x0, generator=torch.Generator().manual_seed(3))
    bound = ContinuousNELBO(process).terms(uniform, x0, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(terms.total, bound.total)


def test_no_reconstruction_pass_where_the_earliest_latent_is_the_data():
    calls = []

    def network(xt, sigma):
        calls.append(sigma)
        return torch.zeros(*xt.shape, 4)

    process = Uniform(LogLinear(), 4)
    terms = ContinuousNELBO(process, LowDiscrepancyTimes(0.0)).terms(
        NetworkDenoiser(process, network), torch.zeros(2, 3, dtype=torch.long)
    )
    assert len(calls) == 1
    assert terms.reconstruction.abs().sum() == 0


def test_steps_are_checked():
    with pytest.raises(ValueError, match="Expected `steps` >= 1, got 0"):
        DiscreteNELBO(Uniform(LogLinear(), 4), 0)


def test_uniform_loss_is_the_published_one(schedule, generator):
    """UDLM's bound as it is printed (arXiv 2412.10193), with explicit one-hots and sums over the vocabulary."""
    process, v = Uniform(schedule, 7), 7
    x0, t = torch.randint(v, (50, 4), generator=generator), torch.rand(50, generator=generator, dtype=torch.float64)
    xt = process.corrupt(x0, t, generator=generator)
    log_x0 = torch.randn(50, 4, v, generator=generator, dtype=torch.float64).log_softmax(-1)
    alpha, slope = schedule.alpha(t)[:, None, None], schedule.alpha_prime(t)[:, None, None]
    clean, noisy = (torch.nn.functional.one_hot(x, v).double() for x in (x0, xt))
    q, m = (v * alpha * p + 1 - alpha for p in (clean, log_x0.exp()))
    q_xt, m_xt = ((distribution * noisy).sum(-1, keepdim=True) for distribution in (q, m))
    jumps = (q / q_xt * ((q / q_xt).log() - (m / m_xt).log())).sum(-1, keepdim=True)
    published = (slope / (v * alpha) * (v / q_xt - v / m_xt - jumps)).squeeze(-1)
    torch.testing.assert_close(process.diffusion_loss(log_x0, x0, xt, t), published, rtol=1e-6, atol=1e-8)
