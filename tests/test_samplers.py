"""Samplers of guidance on the processes of processes: convergence to the exact distribution, by enumeration."""

import itertools

import pytest
import torch

from discrete_diffusion.guidance import CountEvaluations, TauLeaping, last, settling, trapezoidal, uniformization
from discrete_diffusion.guidance.samplers.leaping import leap, second_stage
from discrete_diffusion.processes import (
    Absorbing,
    Ancestral,
    LeaveOneOutDenoiser,
    Marginal,
    NoisyConditional,
    ReverseRates,
    Uniform,
)
from discrete_diffusion.schedules import LogLinear

MARGINALS = [0.5, 0.3, 0.2]


def make_model(oracle, kind, strength):
    """The process, the Oracle and the exact denoiser of two positions, more dependent the greater `strength` is."""
    schedule = LogLinear()
    if kind == "absorbing":
        process, noise, mask_id = Absorbing(schedule, 3, 2), torch.tensor([0.0, 0.0, 1.0]), 2
    elif kind == "uniform":
        process, noise, mask_id = Uniform(schedule, 3), torch.ones(3), None
    else:
        process, noise, mask_id = Marginal(schedule, MARGINALS), torch.tensor(MARGINALS, dtype=torch.float64), None
    joint = 1 / strength + oracle.random(3, 2, noise, mask_id=mask_id).joint.view(3, 3)
    if mask_id is not None:
        joint[mask_id], joint[:, mask_id] = 0, 0
    world = oracle(joint, noise)
    exact = world.denoiser if mask_id is not None else world.leave_one_out

    def denoiser(xt, t, y=None):
        tables = {
            time: exact(schedule.alpha(torch.tensor(time, dtype=torch.float64)).item()) for time in set(t.tolist())
        }
        return torch.stack([tables[time][i] for time, i in zip(t.tolist(), world.index(xt), strict=True)]).log()

    return process, world, denoiser


@pytest.fixture(params=["absorbing", "uniform", "marginal"])
def kind(request):
    return request.param


@pytest.fixture
def model(oracle, kind):
    return make_model(oracle, kind, 0.25)


@pytest.fixture
def strong_model(oracle, kind):
    return make_model(oracle, kind, 100)


def dated(denoiser):
    """The exact denoiser at many different times, rounded to a grid of 200 so that each is enumerated once."""

    def call(xt, t, *, y=None, at=None):
        log_x0 = denoiser(xt, (t * 200).round().clamp(min=1) / 200)
        return log_x0 if at is None else log_x0[at]

    return call


def distance(p, q):
    return (p - q).abs().sum().item() / 2


def grid(n, end=0.02):
    """Equal steps that stop before the data, where the rates of masks diverge."""
    start = 0.999
    return [start - (start - end) * i / n for i in range(n + 1)]


def noisy(world, process, t):
    alpha = process.schedule.alpha(torch.tensor(t, dtype=torch.float64)).item()
    return world.joint @ world.corruption(alpha)


def after_two_stages(world, rates, theta, distribution, times):
    """The exact distribution of x at the last of `times` under the trapezoidal scheme, from that at the first."""
    x = world.sequences
    n = len(x)
    for t, s in itertools.pairwise(times):
        whole, duration = (torch.full((n,), value, dtype=torch.float64) for value in (t, t - s))
        first, later = rates(x, whole).exp(), rates(x, whole - theta * duration).exp()
        middle = world.transition(leap(first, x, theta * duration).exp())
        rows = []
        for begin in range(n):
            second = second_stage(first[begin].expand(n, -1, -1), later, theta)
            rows.append(middle[begin] @ world.transition(leap(second, x, (1 - theta) * duration).exp()))
        distribution = distribution @ torch.stack(rows)
    return distribution


@pytest.mark.parametrize("theta", [0.3, 0.7])
def test_the_trapezoidal_scheme_converges_at_second_order(model, theta):
    """Where predictions change little in a step, so that no rate is cut at zero."""
    process, world, denoiser = model
    if isinstance(process, Marginal):
        pytest.skip("rates away from a frequent and from a rare token differ by more than any step keeps uncut")
    errors = []
    for n in (16, 32, 64):
        times = grid(n, end=0.3)
        got = after_two_stages(world, ReverseRates(process, denoiser), theta, noisy(world, process, times[0]), times)
        errors.append(distance(got, noisy(world, process, times[-1])))
    assert 3.4 < errors[1] / errors[2] < 4.6


def test_the_trapezoidal_scheme_beats_ancestral_sampling_at_equal_evaluations(strong_model):
    process, world, denoiser = strong_model
    n, times = 16, grid(16, end=0.3)
    target = noisy(world, process, times[-1])
    scheme = after_two_stages(world, ReverseRates(process, denoiser), 0.5, noisy(world, process, times[0]), times)
    plain, kernel = noisy(world, process, times[0]), Ancestral(process, denoiser)
    for t, s in itertools.pairwise(grid(2 * n, end=0.3)):
        whole = torch.ones(len(world.sequences), dtype=torch.float64)
        plain = plain @ world.transition(kernel(world.sequences, whole * t, whole * s).exp())
    assert distance(scheme, target) < distance(plain, target)


@pytest.mark.parametrize("kernel", [TauLeaping, Ancestral], ids=lambda kernel: kernel.__name__)
def test_one_stage_kernels_converge_at_first_order(strong_model, kernel):
    process, world, denoiser = strong_model
    made = Ancestral(process, denoiser)
    step = made if kernel is Ancestral else TauLeaping(ReverseRates(process, denoiser), made)
    errors = []
    for n in (16, 32, 64):
        times = grid(n)
        got = noisy(world, process, times[0])
        for t, s in itertools.pairwise(times):
            whole = torch.full((len(world.sequences),), 1.0, dtype=torch.float64)
            got = got @ world.transition(step(world.sequences, whole * t, whole * s).exp())
        errors.append(distance(got, noisy(world, process, times[-1])))
    assert 1.7 < errors[1] / errors[2] < 2.3


def test_trapezoidal_samples_have_the_enumerated_distribution(strong_model, generator):
    process, world, denoiser = strong_model
    times = torch.tensor([1.0, 0.7, 0.4, 0.2, 0.0], dtype=torch.float64)
    rates, kernel, n = ReverseRates(process, denoiser), Ancestral(process, denoiser), len(world.sequences)
    start = process.prior((6000, 2), generator=generator)
    noise = torch.kron(world.noise, world.noise)
    before = after_two_stages(world, rates, 0.5, noise, times[:-1].tolist())
    whole = torch.ones(n, dtype=torch.float64)
    expected = before @ world.transition(kernel(world.sequences, whole * 0.2, whole * 0).exp())
    x = last(trapezoidal(rates, kernel, start, times, generator=generator))
    counts = world.index(x).bincount(minlength=n).double()
    possible = expected > 1e-12
    assert counts[~possible].sum() == 0
    statistic = ((counts - 6000 * expected)[possible] ** 2 / (6000 * expected[possible])).sum()
    assert statistic < 26.12  # 99.9th percentile with 8 degrees of freedom


def test_trapezoidal_sampling_holds_clamps(strong_model, generator):
    process, _, denoiser = strong_model
    clamp = torch.tensor([[1, -1], [-1, 0], [-1, -1]])
    start = process.prior((3, 2), generator=generator)
    times = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    rates, kernel = ReverseRates(process, denoiser), Ancestral(process, denoiser)
    states = list(trapezoidal(rates, kernel, start, times, clamp=clamp, generator=generator))
    assert [state.t for state in states] == times.tolist()
    assert all(torch.equal(state.x[clamp >= 0], clamp[clamp >= 0]) for state in states)
    with pytest.raises(ValueError, match="Expected 0 < `theta` < 1, got 1"):
        trapezoidal(rates, kernel, start, times, theta=1.0)


@pytest.mark.parametrize("kind", ["uniform", "marginal"])
def test_uniformization_is_exact(strong_model, kind, generator):
    """From the exact distribution at one time to that at another, across a wide range of noise."""
    process, world, denoiser = strong_model
    n, start, end = 12_000, 0.95, 0.15
    index = torch.multinomial(noisy(world, process, start), n, replacement=True, generator=generator)
    network = CountEvaluations(dated(denoiser))
    states = uniformization(
        NoisyConditional(process, network),
        lambda xt, t, s: torch.nn.functional.one_hot(xt, 3).double().log(),  # stop at `end`
        world.sequences[index],
        noise=process.log_noise(torch.zeros((), dtype=torch.float64)).exp(),
        survival=process.schedule.alpha,
        inverse=process.schedule.inverse,
        start=start,
        end=end,
        generator=generator,
    )
    x = last(states)
    expected = n * noisy(world, process, end)
    counts = world.index(x).bincount(minlength=len(expected)).double()
    assert ((counts - expected) ** 2 / expected).sum() < 26.12  # 99.9th percentile with 8 degrees of freedom
    ends = process.schedule.alpha(torch.tensor([end, start], dtype=torch.float64)).logit()
    assert network.rows / n == pytest.approx(2 * (ends[0] - ends[1]).item(), rel=0.02)


@pytest.mark.parametrize("kind", ["uniform"])
def test_uniformization_holds_clamps_and_refuses_masks(strong_model, kind, generator):
    process, _, denoiser = strong_model
    clamp = torch.tensor([[1, -1], [-1, -1], [2, 0]])
    arguments = {"survival": process.schedule.alpha, "inverse": process.schedule.inverse, "clamp": clamp}
    conditional, kernel = NoisyConditional(process, dated(denoiser)), Ancestral(process, denoiser)
    start = process.prior((3, 2), generator=generator)
    noise = torch.full((3,), 1 / 3)
    states = list(uniformization(conditional, kernel, start, noise=noise, **arguments, generator=generator))
    assert all(torch.equal(state.x[clamp >= 0], clamp[clamp >= 0]) for state in states)
    assert states[-1].t == 0
    with pytest.raises(ValueError, match="by `first_hitting`"):
        uniformization(conditional, kernel, start, noise=torch.tensor([0.0, 0.0, 1.0]), **arguments)
    with pytest.raises(ValueError, match=r"Expected 1 >= `start` > `end` > 0, got 1\.0 and 0\.0"):
        uniformization(conditional, kernel, start, noise=noise, **arguments, end=0.0)


def settle(process, denoiser, x, times, **settings):
    log_noise = process.log_noise(torch.zeros((), dtype=torch.float64))
    rest = LeaveOneOutDenoiser(process, denoiser)
    return settling(rest, x, torch.tensor(times), log_noise=log_noise, survival=process.schedule.alpha, **settings)


@pytest.mark.parametrize("kind", ["uniform", "marginal"])
@pytest.mark.parametrize("s", [0.3, 0.0])
def test_a_settling_step_is_an_ancestral_step(strong_model, kind, s, generator):
    """Summed over which tokens are noise, and the share of noise is that of the forward process."""
    process, world, denoiser = strong_model
    n, t = 40_000, 0.5
    start = noisy(world, process, t)
    x = world.sequences[torch.multinomial(start, n, replacement=True, generator=generator)]
    *_, state = settle(process, dated(denoiser), x, [t, s], generator=generator)
    time = torch.full((9,), t, dtype=torch.float64)
    kernel = Ancestral(process, dated(denoiser))(world.sequences, time, torch.full_like(time, s)).exp()
    expected = n * start @ world.transition(kernel)
    counts = world.index(state.x).bincount(minlength=9).double()
    assert ((counts - expected) ** 2 / expected).sum() < 26.12  # 99.9th percentile with 8 degrees of freedom
    lost = 0.0 if s == 0 else 1 - process.schedule.alpha(torch.tensor(s)).item()
    assert state.noise.double().mean().item() == pytest.approx(lost, abs=0.01)


@pytest.mark.parametrize("kind", ["uniform", "marginal"])
def test_settled_tokens_stay_unless_they_are_drawn_anew(strong_model, kind, generator):
    process, _, denoiser = strong_model
    x, clamp = process.prior((500, 2), generator=generator), torch.full((500, 2), -1)
    clamp[:100, 0] = 1
    times = torch.linspace(1, 0, 9).tolist()

    def run(redraw):
        network = CountEvaluations(dated(denoiser))
        settings = {"clamp": clamp, "generator": torch.Generator().manual_seed(0)}
        return list(settle(process, network, x, times, redraw=redraw, **settings)), network.rows

    (kept, cost), (anew, full) = run(0.0), run(1.0)
    for states in (kept, anew):
        assert not states[-1].noise.any()
        assert all((state.x[:100, 0] == 1).all() and not state.noise[:100, 0].any() for state in states)
    pairs = list(itertools.pairwise(kept))
    assert all(torch.equal(before.x[~before.noise], after.x[~before.noise]) for before, after in pairs)
    assert any((after.noise & ~before.noise).any() for before, after in itertools.pairwise(anew))
    assert full == 8 * 500
    # Of 400 rows with two tokens and 100 with one, a step evaluates those in which a token settles.
    assert cost == pytest.approx(400 * 8 * (1 - (7 / 8) ** 2) + 100, rel=0.05)
    with pytest.raises(ValueError, match="Expected 0 <= `redraw` <= 1, got 2"):
        run(2)
