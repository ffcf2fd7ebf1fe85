import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from discrete_diffusion.guidance import drawing, sample_categorical


def uniforms(monkeypatch, values):
    """Make the next uniforms these."""
    u = torch.tensor(values, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda size, dtype, **kwargs: u.to(dtype).reshape(size))


def textbook(weights, u):
    """The first token whose cumulated weight exceeds u, in exactly rounded arithmetic; None near a boundary."""
    total = math.fsum(weights)
    for k in range(len(weights)):
        reached = math.fsum(weights[: k + 1])
        if abs(reached - u * total) < 1e-12 * total:
            return None
        if reached > u * total:
            return k
    return None


rows = st.lists(st.one_of(st.just(-math.inf), st.floats(-60, 5)), min_size=1, max_size=9)
edges = st.sampled_from([0.0, 2.0**-53, 1 - 2.0**-53])


@settings(deadline=None, max_examples=50)
@given(rows.filter(lambda row: max(row) > -math.inf), st.one_of(edges, st.floats(0, 1, exclude_max=True)))
def test_inverts_the_cdf_and_never_draws_the_impossible(row, u):
    with pytest.MonkeyPatch.context() as patch:
        uniforms(patch, [u])
        token = sample_categorical(torch.tensor([row], dtype=torch.float64)).item()
    assert row[token] > -math.inf
    expected = textbook([math.exp(value) for value in row], u)
    if expected is not None:
        assert token == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_edges_of_rows_that_do_not_sum_to_one(monkeypatch, dtype):
    # Ten times 0.1 is not 1 in any of these types, and the last token is impossible.
    log_probs = torch.full((2, 12), math.log(0.1), dtype=dtype)
    log_probs[:, 0] = log_probs[:, -1] = -math.inf
    uniforms(monkeypatch, [0.0, 1 - 2.0**-53])
    assert sample_categorical(log_probs).tolist() == [1, 10]


def test_a_billionth_is_drawn_where_float32_gumbel_cannot(monkeypatch):
    rare = 1e-9
    for rare_first in (False, True):
        row = [rare, 1 - rare] if rare_first else [1 - rare, rare]
        log_probs = torch.tensor(row, dtype=torch.float64).log().float().expand(10_000, 2)
        # Evenly spaced over the hundred-millionth of the unit interval that holds the rare token: a tenth is its own.
        grid = (torch.arange(10_000, dtype=torch.float64) + 0.5) * 1e-12
        uniforms(monkeypatch, (grid if rare_first else 1 - grid).tolist())
        drawn = (sample_categorical(log_probs) == (0 if rare_first else 1)).sum().item()
        assert abs(drawn - 1000) <= 1

    # The largest and the smallest Gumbel number that float32 uniforms can make are not far enough apart.
    largest, smallest = (-(-torch.tensor(u).log()).log() for u in (1 - 2.0**-24, 2.0**-24))
    assert math.log(rare) + largest < math.log(1 - rare) + smallest


def test_matches_the_distribution(generator):
    probs = torch.tensor([0.5, 0.25, 0.15, 0.0, 0.1])
    drawn = sample_categorical(probs.log().expand(40, 50, 5), generator)
    assert drawn.shape == (40, 50)
    assert drawn.dtype == torch.int64
    counts = drawn.flatten().bincount(minlength=5)
    assert counts[3] == 0
    expected = 2000 * probs
    chi_square = ((counts - expected) ** 2 / expected)[expected > 0].sum()
    assert chi_square < 16.27  # 3 degrees of freedom, 0.1 %


def test_constants_do_not_matter_however_large():
    log_probs = torch.tensor([[0.0, -1.0, -2.0]], dtype=torch.float64).expand(200, 3)
    draws = [
        sample_categorical(log_probs + shift, torch.Generator().manual_seed(3)).tolist() for shift in (0, 1e4, -1e4)
    ]
    assert draws[0] == draws[1] == draws[2]
    assert len(set(draws[0])) == 3


def test_chunks_change_nothing(monkeypatch):
    log_probs = torch.randn(7, 5, 6, generator=torch.Generator().manual_seed(1))
    whole = sample_categorical(log_probs, torch.Generator().manual_seed(2))
    monkeypatch.setitem(drawing._CHUNK, "cpu", 13)
    assert torch.equal(sample_categorical(log_probs, torch.Generator().manual_seed(2)), whole)


@pytest.mark.parametrize("vocab_size", [5, 128, 129, 300, 1024])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_blocks_draw_the_tokens_of_the_whole_cumulative_sum(vocab_size, scale, generator):
    """Block sums round differently in the 16th digit, which no draw of these sees."""
    log_probs = scale * torch.randn(500, vocab_size, generator=generator)
    log_probs[torch.rand(500, vocab_size, generator=generator) < 0.3] = -math.inf
    log_probs[:, vocab_size // 2] = 0.0
    uniform = torch.rand(500, generator=generator, dtype=torch.float64)
    uniform[:4] = torch.tensor([0.0, 2.0**-53, 0.5, 1 - 2.0**-53])
    cdf = (log_probs.double() - log_probs.amax(-1, keepdim=True)).exp().cumsum(-1)
    whole = torch.searchsorted(cdf, uniform[:, None] * cdf[:, -1:], right=True)[:, 0]
    drawn = drawing.invert_cdf(log_probs, uniform)
    assert (log_probs[torch.arange(500), drawn] > -math.inf).all()
    assert torch.equal(drawn[4:], whole[4:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leaves_its_input_alone(dtype, generator):
    log_probs = torch.randn(4, 6, dtype=dtype, generator=generator).requires_grad_()
    before = log_probs.detach().clone()
    assert not sample_categorical(log_probs, generator).requires_grad
    assert torch.equal(log_probs.detach(), before)


def test_a_scan_that_rounds_up_at_an_impossible_token(monkeypatch):
    log_probs = torch.tensor([[-math.inf, 0.0, -math.inf, -math.inf, 0.0]] * 2)
    monkeypatch.setattr(torch, "searchsorted", lambda *args, **kwargs: torch.tensor([[3], [4]]))
    assert sample_categorical(log_probs).tolist() == [1, 4]


def test_the_global_generator_is_not_touched(generator):
    before = torch.random.get_rng_state()
    sample_categorical(torch.zeros(5, 3), generator)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "bad", [[-math.inf, -math.inf], [math.nan, 0.0], [0.0, math.nan], [math.inf, 0.0], [0.0, math.inf]]
)
def test_rows_without_a_distribution_are_refused(bad, generator):
    with pytest.raises(ValueError, match="got 1 of 2 rows"):
        sample_categorical(torch.tensor([[0.0, 0.0], bad]), generator)


def test_shapes(generator):
    assert sample_categorical(torch.zeros(0, 3), generator).shape == (0,)
    assert sample_categorical(torch.zeros(2, 0, 3), generator).shape == (2, 0)
    assert sample_categorical(torch.zeros(3), generator).shape == ()
    assert sample_categorical(torch.zeros(4, 1), generator).tolist() == [0] * 4
