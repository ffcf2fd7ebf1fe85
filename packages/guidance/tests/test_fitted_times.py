"""Fitted time grids, held to the exact distributions of the samplers that use them."""

import itertools

import pytest
import torch

from discrete_diffusion.guidance import (
    equal_survival_times,
    equal_times,
    fitted_times,
    masked_cross_entropy,
    masked_step_costs,
)

MASK = 3
CANDIDATES = torch.linspace(1, 0, 33, dtype=torch.float64)


def survival(t):
    return 1 - t


class Schedule:
    """alpha(t) = (1 - t)^3: equal times are far from the best."""

    @staticmethod
    def alpha(t):
        return (1 - t) ** 3

    @staticmethod
    def inverse(alpha):
        return 1 - alpha ** (1 / 3)


def exact_cross_entropy(oracle, alpha):
    """The mean of -log p(x_0^l | x_t) over positions, given that the position is masked."""
    corruption, denoiser = oracle.corruption(alpha), oracle.denoiser(alpha)
    total = 0.0
    for position in range(oracle.length):
        masked = oracle.sequences[:, position] == MASK
        for x0, p in zip(oracle.sequences, oracle.joint, strict=True):
            if p == 0:
                continue
            weights = corruption[oracle.index(x0)][masked]
            log_p = denoiser[masked, position, x0[position]].clamp(min=1e-300).log()
            total -= (p * (weights * log_p).sum() / weights.sum()).item()
    return total / oracle.length


def distances(oracle, kernel, times):
    """KL and total variation from the data to the samples."""
    distribution, data = oracle.distribution(kernel, times.double().tolist()), oracle.joint
    possible = data > 0
    divergence = (data[possible] * (data[possible] / distribution[possible]).log()).sum().item()
    return divergence, (distribution - data).abs().sum().item() / 2


def divergence_of_step(oracle, alpha_t, alpha_s):
    """E KL( q(x_s | x_t) || product of its marginals ), by enumeration."""
    distribution_t = oracle.joint @ oracle.corruption(alpha_t)
    distribution_s = oracle.joint @ oracle.corruption(alpha_s)
    step = oracle._product([oracle.token_corruption(alpha_t / alpha_s)] * oracle.length)
    reverse = (distribution_s[:, None] * step).T / distribution_t[:, None]
    factorized = oracle.transition(oracle.bayes_kernel(alpha_t, alpha_s))
    ratio = torch.where(reverse > 0, reverse / factorized, 1.0)
    return (distribution_t[:, None] * reverse * ratio.log()).sum().item()


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_on_masks_the_fitted_grid_is_closer_to_the_data(steps, world):
    w = world(3)
    alpha = Schedule.alpha(CANDIDATES)
    entropy = torch.tensor([exact_cross_entropy(w.oracle, float(a)) for a in alpha[:-1]] + [0.0])
    assert (entropy[:-1].diff() < 0).all()
    times = fitted_times(steps, candidates=CANDIDATES, costs=masked_step_costs(entropy.double(), alpha))
    assert len(times) == steps + 1

    def kernel(xt, t, s, *, y=None):
        # The world's kernel is that of alpha = 1 - t.
        return w.kernel(xt, 1 - Schedule.alpha(t), 1 - Schedule.alpha(s))

    fitted = distances(w.oracle, kernel, times)
    equal = distances(w.oracle, kernel, equal_times(steps, Schedule))
    survival_equal = distances(w.oracle, kernel, equal_survival_times(steps, Schedule))
    assert fitted[0] < 0.8 * equal[0]
    assert fitted[1] < equal[1]
    assert fitted[0] < survival_equal[0]


@pytest.mark.parametrize("steps", [2, 4])
def test_on_uniform_noise_the_fitted_grid_is_closer_to_the_data(steps, oracle):
    o = oracle.random(3, 3, torch.ones(3))
    times = torch.linspace(1, 0, 17, dtype=torch.float64)
    alpha = survival(times).tolist()
    costs = torch.full((17, 17), torch.inf, dtype=torch.float64)
    for i, j in itertools.combinations(range(17), 2):
        costs[i, j] = divergence_of_step(o, alpha[i], alpha[j])

    def kernel(xt, t, s, *, y=None):
        return o.bayes_kernel(survival(t[0]).item(), survival(s[0]).item())[o.index(xt)].log()

    fitted = distances(o, kernel, fitted_times(steps, candidates=times, costs=costs))
    equal = distances(o, kernel, equal_times(steps, Schedule))
    assert fitted[0] < 0.8 * equal[0]
    assert fitted[1] < equal[1]


def test_masked_costs_are_divergences_up_to_a_term_of_every_grid(world):
    w = world(2)
    alpha = torch.tensor([0.1, 0.3, 0.6, 0.9, 1.0], dtype=torch.float64)
    entropy = torch.tensor([exact_cross_entropy(w.oracle, float(a)) for a in alpha[:-1]] + [0.0], dtype=torch.float64)
    costs = masked_step_costs(entropy, alpha) * w.oracle.length

    def difference(path):
        pairs = list(itertools.pairwise(path))
        exact = sum(divergence_of_step(w.oracle, float(alpha[i]), float(alpha[j])) for i, j in pairs)
        return sum(costs[i, j].item() for i, j in pairs) - exact

    expected = difference([0, 4])
    for path in ([0, 1, 4], [0, 2, 3, 4], [0, 1, 2, 3, 4]):
        assert difference(path) == pytest.approx(expected, abs=1e-9)


def test_no_grid_of_the_candidates_costs_less():
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(8, 8, generator=generator, dtype=torch.float64)
    candidates = torch.linspace(1, 0, 8, dtype=torch.float64)
    for steps in range(1, 8):
        inner = itertools.combinations(range(1, 7), steps - 1)
        paths = [(0, *one, 7) for one in inner]
        best = min(paths, key=lambda path: sum(costs[i, j].item() for i, j in itertools.pairwise(path)))
        assert torch.equal(fitted_times(steps, candidates=candidates, costs=costs), candidates[list(best)].float())


def test_the_estimate_from_samples_agrees_with_enumeration(world, generator):
    w = world(3)
    index = torch.multinomial(w.oracle.joint, 20_000, replacement=True, generator=generator)
    times = torch.tensor([1.0, 0.5, 0.1])
    found = masked_cross_entropy(
        w.denoiser, w.oracle.sequences[index], times, mask_id=MASK, survival=survival, generator=generator
    )
    expected = [exact_cross_entropy(w.oracle, float(survival(t))) for t in times]
    assert found.tolist() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "Expected 1 <= `steps` <= 4 for 5 candidates, got 0"),
        ({"steps": 5}, "Expected 1 <= `steps` <= 4 for 5 candidates, got 5"),
        ({"candidates": torch.linspace(0.9, 0, 5)}, "Expected `candidates` from 1 to 0"),
        ({"candidates": torch.linspace(0, 1, 5)}, "Expected strictly descending"),
        ({"costs": torch.full((5, 5), torch.nan)}, "Expected `costs` without NaN"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {"steps": 2, "candidates": torch.linspace(1, 0, 5), "costs": torch.zeros(5, 5)} | change
    with pytest.raises(ValueError, match=message):
        fitted_times(arguments.pop("steps"), **arguments)
