"""Matrix of samplers, processes, guidance, clamps, constraints and searches: a sample, or an error with its reason."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from discrete_diffusion.guidance import (
    SVDD,
    AncestralSampler,
    BestOf,
    ClassifierFree,
    ConfidenceRemaskingSampler,
    EntropyBound,
    FirstHittingSampler,
    GibbsCorrectedSampler,
    HighestConfidence,
    LargestMargin,
    LowestEntropy,
    MaskedAncestralSampler,
    OrderSampler,
    Particles,
    PathPlanningSampler,
    RandomOrder,
    SampleStreams,
    SettlingSampler,
    TrapezoidalSampler,
    UniformizationSampler,
    cosine_times,
    equal_survival_times,
    equal_times,
    last,
    leaping_kernel,
    log_snr_times,
)
from discrete_diffusion.processes import (
    Absorbing,
    Ancestral,
    Capped,
    LeaveOneOutDenoiser,
    Marginal,
    NoisyConditional,
    PredictorCorrector,
    Remasking,
    Rescaled,
    ReverseRates,
    Uniform,
)
from discrete_diffusion.schedules import Cosine, LogLinear

LENGTH, TOKENS, MASK, NULL = 4, 3, 3, 2
ROWS = 7


def make_process(kind, schedule):
    if kind == "absorbing":
        return Absorbing(schedule, TOKENS + 1, MASK)
    return Uniform(schedule, TOKENS) if kind == "uniform" else Marginal(schedule, [0.5, 0.3, 0.2])


def make_denoiser(process, *, raw=False):
    """A denoiser that reads every token, its time and its label, in float64, each row on its own.

    With `raw`, it rates visible tokens as well, instead of carrying them over.
    """
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(LENGTH, process.vocab_size, LENGTH, process.vocab_size, generator=generator).double()
    labels = torch.randn(NULL + 1, process.vocab_size, generator=generator).double()

    def denoiser(xt, t, *, y=None, at=None):
        logits = table[torch.arange(LENGTH), xt].sum(1) + t.double()[:, None, None]
        logits = logits + labels[torch.full_like(xt[:, 0], NULL) if y is None else y][:, None]
        log_x0 = process.log_x0(logits, torch.full_like(xt, MASK) if raw else xt)
        return log_x0 if at is None else log_x0[at]

    return denoiser


def lifts(process):
    return partial(Ancestral, process), partial(ReverseRates, process), partial(NoisyConditional, process)


SAMPLERS = {
    "ancestral": lambda p, lift, rates, rest: AncestralSampler(p, lift, 4),
    "cosine_times": lambda p, lift, rates, rest: AncestralSampler(p, lift, 4, cosine_times),
    "equal_survival": lambda p, lift, rates, rest: AncestralSampler(p, lift, 4, equal_survival_times),
    "log_snr": lambda p, lift, rates, rest: AncestralSampler(p, lift, 4, log_snr_times),
    "predictor_corrector": lambda p, lift, rates, rest: AncestralSampler(p, partial(PredictorCorrector, p, psi=0.5), 4),
    "remasking": lambda p, lift, rates, rest: AncestralSampler(p, partial(Remasking, p, rate=Capped(0.3)), 4),
    "rescaled": lambda p, lift, rates, rest: AncestralSampler(p, partial(Remasking, p, rate=Rescaled(0.3)), 4),
    "masked_ancestral": lambda p, lift, rates, rest: MaskedAncestralSampler(p, 4),
    "confidence_remasking": lambda p, lift, rates, rest: ConfidenceRemaskingSampler(p, Capped(0.3), 4),
    "path_planning": lambda p, lift, rates, rest: PathPlanningSampler(
        p, lambda denoiser: make_denoiser(p, raw=True), 2.0, 4
    ),
    "first_hitting": lambda p, lift, rates, rest: FirstHittingSampler(p),
    "first_hitting_two": lambda p, lift, rates, rest: FirstHittingSampler(p, 2),
    "random": lambda p, lift, rates, rest: OrderSampler(p, RandomOrder()),
    "confidence": lambda p, lift, rates, rest: OrderSampler(p, HighestConfidence(2)),
    "margin": lambda p, lift, rates, rest: OrderSampler(p, LargestMargin()),
    "entropy": lambda p, lift, rates, rest: OrderSampler(p, LowestEntropy()),
    "entropy_bound": lambda p, lift, rates, rest: OrderSampler(p, EntropyBound(0.2)),
    "gibbs": lambda p, lift, rates, rest: GibbsCorrectedSampler(p, lift, rest, 4, corrections=2),
    "tau_leaping": lambda p, lift, rates, rest: AncestralSampler(
        p, partial(leaping_kernel, rates=rates, last_step=lift), 4
    ),
    "trapezoidal": lambda p, lift, rates, rest: TrapezoidalSampler(p, rates, lift, 4),
    "settling": lambda p, lift, rates, rest: SettlingSampler(p, partial(LeaveOneOutDenoiser, p), 4),
    "carried": lambda p, lift, rates, rest: SettlingSampler(p, partial(LeaveOneOutDenoiser, p), 4, redraw=0.0),
    "uniformization": lambda p, lift, rates, rest: UniformizationSampler(p, lift, rest, 0.1),
}
MASKED = {
    "remasking",
    "rescaled",
    "confidence_remasking",
    "path_planning",
    "masked_ancestral",
    "first_hitting",
    "first_hitting_two",
    "random",
    "confidence",
    "margin",
    "entropy",
    "entropy_bound",
}
UNMASKED = {"gibbs", "settling", "carried", "uniformization"}
WITH_KERNEL = set(SAMPLERS) - (MASKED - {"remasking", "rescaled"}) - UNMASKED - {"trapezoidal"}


def guidance(base):
    return ClassifierFree(base, 2.0, NULL)


def reward(x0):
    return (x0 == 1).sum(-1).double()


SEARCHES = {
    None: None,
    "best_of": BestOf(reward, 3),
    "particles": Particles(reward, 2.0, 3),
    "svdd": SVDD(reward, 2.0, 3),
}


def build(name, kind, schedule):
    """The sampler and its process, or None if it is not for this kind of noise."""
    process = make_process(kind, schedule)
    fits = kind == "absorbing" if name in MASKED else kind != "absorbing" if name in UNMASKED else True
    if not fits:
        with pytest.raises(ValueError, match="Expected"):
            last(SAMPLERS[name](process, *lifts(process))(make_denoiser(process), (1, LENGTH)))
        return None
    return SAMPLERS[name](process, *lifts(process)), process


@pytest.mark.parametrize("kind", ["absorbing", "uniform", "marginal"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_each_combination_runs_or_is_refused_before_sampling(name, kind):
    built = build(name, kind, LogLinear())
    if built is None:
        return
    sampler, process = built
    denoiser, y = make_denoiser(process), torch.arange(ROWS) % 2
    clamp = torch.full((ROWS, LENGTH), -1)
    clamp[:, 1] = 2
    allowed = torch.ones(LENGTH, process.vocab_size, dtype=torch.bool)
    allowed[:, 0] = False
    for level, clamped, constrained, search in itertools.product(
        [None, "on_denoiser", "on_kernel"], [False, True], [False, True], SEARCHES
    ):
        arguments = {
            "y": y,
            **({} if level is None else {level: [guidance]}),
            "search": SEARCHES[search],
            "allowed": allowed if constrained else None,
            "clamp": clamp if clamped else None,
            "generator": SampleStreams(5, torch.arange(ROWS)),
        }
        before = [tensor.clone() for tensor in (clamp, allowed, y)]
        refused = (
            (level == "on_kernel" and name not in WITH_KERNEL)
            or (search in ("particles", "svdd") and name not in WITH_KERNEL)
            or (constrained and name == "uniformization")
        )
        if refused:
            with pytest.raises(ValueError, match="Expected"):
                sampler(denoiser, (ROWS, LENGTH), **arguments)
            continue
        x = last(sampler(denoiser, (ROWS, LENGTH), **arguments))
        assert x.shape == (ROWS, LENGTH)
        assert x.max() < TOKENS
        assert not clamped or bool((x[:, 1] == 2).all())
        assert not constrained or bool((x != 0).all())
        assert all(torch.equal(old, new) for old, new in zip(before, (clamp, allowed, y), strict=True))


@pytest.mark.parametrize("kind", ["absorbing", "uniform", "marginal"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_depends_on_its_seed_and_index_alone(name, kind):
    built = build(name, kind, Cosine())
    if built is None:
        return
    sampler, process = built
    denoiser = make_denoiser(process)
    searches = SEARCHES if name in WITH_KERNEL else [None, "best_of"]
    for search in searches:

        def draw(index, search=search):
            index = torch.tensor(index)
            return last(
                sampler(
                    denoiser,
                    (len(index), LENGTH),
                    y=index % 2,
                    on_denoiser=[guidance],
                    search=SEARCHES[search],
                    generator=SampleStreams(5, index),
                )
            )

        together = draw(list(range(ROWS)))
        assert torch.equal(draw([0, 1]), together[:2])
        assert torch.equal(draw([6, 2]), together[[6, 2]])
        assert torch.equal(draw([3]), together[3:4])
        assert len(together.unique(dim=0)) > 1


@pytest.mark.parametrize("grid", [equal_times, cosine_times, equal_survival_times, log_snr_times])
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine()])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100])
def test_grids_descend_from_one_to_zero(grid, schedule, steps):
    times = grid(steps, schedule)
    assert len(times) == steps + 1
    assert times[0] == 1
    assert times[-1] == 0
    assert (times.diff() < 0).all()


def test_grids_take_the_steps_that_they_name():
    schedule = Cosine()
    survival = schedule.alpha(equal_survival_times(8, schedule).double())
    survival[-1] = 1
    torch.testing.assert_close(survival.diff(), survival.diff()[:1].expand(8), rtol=1e-4, atol=1e-6)
    ratio = schedule.alpha(log_snr_times(10, schedule).double())[1:-1].logit()
    torch.testing.assert_close(ratio, torch.linspace(-6, 6, 9).double(), rtol=1e-3, atol=1e-3)


def test_a_sampler_without_a_kernel_names_the_one_that_has_it():
    process = make_process("absorbing", LogLinear())
    sampler = FirstHittingSampler(process)
    with pytest.raises(ValueError, match="guide the denoiser, or sample with AncestralSampler"):
        sampler(make_denoiser(process), (2, LENGTH), on_kernel=[guidance])


REMASKING = {"predictor_corrector", "remasking", "rescaled", "confidence_remasking", "path_planning"}
KEEP = set(SAMPLERS) - UNMASKED - REMASKING
"""Samplers that never mask a revealed token again."""


@given(
    name=st.sampled_from(sorted(SAMPLERS)),
    kind=st.sampled_from(["absorbing", "uniform", "marginal"]),
    clamp=st.sampled_from([1, 2, 7]).flatmap(
        lambda batch: st.lists(
            st.lists(st.integers(-1, TOKENS - 1), min_size=LENGTH, max_size=LENGTH), min_size=batch, max_size=batch
        )
    ),
    gamma=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=300)
def test_tokens_that_must_stay_stay_in_every_state_and_no_mask_is_left(name, kind, clamp, gamma, seed):
    if (kind != "absorbing" and name in MASKED) or (kind == "absorbing" and name in UNMASKED):
        return
    process = make_process(kind, LogLinear())
    sampler = SAMPLERS[name](process, *lifts(process))
    clamp = torch.tensor(clamp)
    batch, fixed, before = len(clamp), clamp >= 0, clamp.clone()
    states = list(
        sampler(
            make_denoiser(process),
            (batch, LENGTH),
            y=torch.arange(batch) % 2,
            clamp=clamp,
            on_denoiser=[lambda base: ClassifierFree(base, gamma, NULL)],
            generator=SampleStreams(seed, torch.arange(batch)),
        )
    )
    assert torch.equal(clamp, before)
    assert states[-1].t == 0
    assert states[-1].x.max() < TOKENS
    for state in states:
        assert torch.equal(state.x[fixed], clamp[fixed])
    if kind == "absorbing" and name in KEEP:
        for earlier, later in itertools.pairwise(states):
            revealed = earlier.x != MASK
            assert torch.equal(later.x[revealed], earlier.x[revealed])


def ending_denoiser(process):
    """The denoiser of `make_denoiser` for sequences that end: after a visible token 2, every mask is a 0."""
    inner = make_denoiser(process)

    def denoiser(xt, t, *, y=None, at=None):
        log_x0 = inner(xt, t, y=y)
        ended = ((xt == 2).cumsum(1) > 0) & (xt == MASK)
        padding = torch.full((process.vocab_size,), -torch.inf, dtype=log_x0.dtype)
        padding[0] = 0
        log_x0 = torch.where(ended[..., None], padding, log_x0)
        return log_x0 if at is None else log_x0[at]

    return denoiser


@given(
    name=st.sampled_from(sorted(KEEP | REMASKING - {"path_planning"})),
    gamma=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100)
def test_what_follows_the_end_of_a_sequence_stays_padding_under_guidance(name, gamma, seed):
    process = make_process("absorbing", LogLinear())
    states = list(
        SAMPLERS[name](process, *lifts(process))(
            ending_denoiser(process),
            (ROWS, LENGTH),
            y=torch.arange(ROWS) % 2,
            on_denoiser=[lambda base: ClassifierFree(base, gamma, NULL)],
            generator=SampleStreams(seed, torch.arange(ROWS)),
        )
    )
    for earlier, later in itertools.pairwise(states):
        ended = ((earlier.x == 2).cumsum(1) > 0) & (earlier.x == MASK)
        assert bool(torch.isin(later.x[ended], torch.tensor([0, MASK])).all())


@pytest.mark.parametrize(
    ("kind", "build", "values"),
    [
        ("uniform", lambda p, n: AncestralSampler(p, partial(Ancestral, p), n), (2, 4)),
        ("uniform", lambda p, psi: AncestralSampler(p, partial(PredictorCorrector, p, psi=psi), 4), (0.2, 0.8)),
        ("absorbing", lambda p, eta: AncestralSampler(p, partial(Remasking, p, rate=Capped(eta)), 4), (0, 0.5)),
        ("absorbing", lambda p, eta: AncestralSampler(p, partial(Remasking, p, rate=Rescaled(eta)), 4), (0, 0.9)),
        ("absorbing", lambda p, eta: ConfidenceRemaskingSampler(p, Capped(eta), 4), (0, 0.5)),
        (
            "absorbing",
            lambda p, eta: PathPlanningSampler(p, lambda denoiser: make_denoiser(p, raw=True), eta, 4),
            (0, 2),
        ),
        ("absorbing", FirstHittingSampler, (1, 2)),
        ("absorbing", lambda p, k: OrderSampler(p, HighestConfidence(k)), (1, 4)),
        ("absorbing", lambda p, least: OrderSampler(p, HighestConfidence(1, threshold=least)), (0.5, 0.999)),
        ("absorbing", lambda p, bound: OrderSampler(p, EntropyBound(bound)), (0, 100)),
        ("uniform", lambda p, k: GibbsCorrectedSampler(p, *rest(p), 4, corrections=k), (0, 2)),
        ("uniform", lambda p, k: GibbsCorrectedSampler(p, *rest(p), 4, at_once=k), (1, 3)),
        ("uniform", lambda p, share: SettlingSampler(p, partial(LeaveOneOutDenoiser, p), 4, redraw=share), (0, 1)),
        ("uniform", lambda p, theta: TrapezoidalSampler(p, lifts(p)[1], lifts(p)[0], 4, theta=theta), (0.2, 0.8)),
        ("uniform", lambda p, end: UniformizationSampler(p, *rest(p), end), (0.01, 0.5)),
    ],
)
def test_every_number_has_an_effect(kind, build, values):
    process = make_process(kind, LogLinear())
    denoiser, streams = make_denoiser(process), SampleStreams(0, torch.arange(50))
    first, second = (last(build(process, value)(denoiser, (50, LENGTH), generator=streams)) for value in values)
    assert not torch.equal(first, second)


def rest(process):
    lift, _, conditional = lifts(process)
    return lift, conditional
