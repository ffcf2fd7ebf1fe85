import math

import numpy as np
import pytest

from discrete_diffusion.eval import Likelihood


def test_known_answer() -> None:
    result = Likelihood.of_batch([2.0, 4.0, 9.0], tokens=5)
    assert result.nats_per_sequence == pytest.approx(5.0)
    # Deviations -3, -1, 4: variance 26 / 2 = 13, error of the mean sqrt(13 / 3).
    assert result.nats_per_sequence_error == pytest.approx(math.sqrt(13 / 3))
    assert result.bits_per_token == pytest.approx(1.0 / math.log(2))
    assert result.bits_per_token_error == pytest.approx(math.sqrt(13 / 3) / 5 / math.log(2))
    assert result.perplexity == pytest.approx(math.e)
    assert result.perplexity_error == pytest.approx(math.e * math.sqrt(13 / 3) / 5)


def test_mask_leaves_padding_out() -> None:
    nats = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]])
    mask = np.array([[True, True, False], [True, True, True]])
    result = Likelihood.of_batch(nats, tokens=mask)
    assert (result.sequences, result.tokens, result.nats) == (2, 5, 15.0)
    assert result.nats_per_sequence == 7.5


@pytest.mark.parametrize("cuts", [(7,), (1, 2, 3), (0, 20), (10, 10, 39)])
def test_batches_merge_to_the_whole(cuts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    nats, prior, tokens = rng.gamma(3.0, size=40) + 1e3, rng.normal(size=40), rng.integers(3, 30, 40)
    merged = Likelihood()
    for rows in np.split(np.arange(40), cuts):
        merged = merged + Likelihood.of_batch(nats[rows], tokens[rows], {"prior": prior[rows]})
    assert merged.nats_per_sequence == pytest.approx(nats.mean())
    assert merged.nats_per_sequence_error == pytest.approx(nats.std(ddof=1) / math.sqrt(40), rel=1e-6)
    assert merged.parts == pytest.approx({"prior": prior.mean()})
    assert merged.tokens == tokens.sum()


def test_ratio_error_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    tokens = rng.integers(5, 30, 400)
    nats = 2.0 * tokens + rng.normal(0.0, 3.0, 400)
    draws = rng.integers(0, 400, (4000, 400))
    bootstrap = (nats[draws].sum(1) / tokens[draws].sum(1)).std() / math.log(2)
    result = Likelihood.of_batch(nats, tokens)
    assert result.bits_per_token_error == pytest.approx(bootstrap, rel=0.05)
    # Longer sequences cost more nats: taking the error of nats over the mean length would be several times too large.
    assert result.nats_per_sequence_error / tokens.mean() / math.log(2) > 3 * bootstrap


def test_undefined_is_none() -> None:
    empty = Likelihood()
    assert set(empty.row().values()) == {0, None}
    assert empty == Likelihood.of_batch(np.zeros((0, 4))) == empty + empty
    one = Likelihood.of_batch([3.0], tokens=2)
    assert one.nats_per_sequence == 3.0
    assert one.nats_per_sequence_error is one.bits_per_token_error is one.perplexity_error is None
    assert Likelihood.of_batch([3.0], tokens=0).perplexity is None


def test_infinite_likelihood_survives() -> None:
    result = Likelihood.of_batch([1.0, math.inf], tokens=2) + Likelihood.of_batch([1.0], tokens=2)
    assert result.nats_per_sequence == result.perplexity == math.inf
    assert result.nats_per_sequence_error is None
    assert Likelihood.of_batch([1e6], tokens=1).perplexity == math.inf
    # A model that returns NaN is broken, which must not read as an answer.
    assert math.isnan(Likelihood.of_batch([math.nan, 1.0], tokens=1).perplexity)


def test_row_is_flat() -> None:
    parts = {"prior": [[0.5, 0.5]], "diffusion": [[1.0, 2.0]]}
    row = Likelihood.of_batch([[1.5, 2.5]], parts=parts).row()
    assert row["prior_nats_per_sequence"] == 1.0
    assert row["diffusion_nats_per_sequence"] == 3.0
    assert row["tokens"] == 2


@pytest.mark.parametrize(
    ("nats", "tokens", "parts", "message"),
    [
        (1.0, None, None, "of shape"),
        ([1.0], None, None, "number of tokens"),
        ([1.0], [1, 2], None, "one integer"),
        ([1.0], -1, None, "one integer"),
        ([1.0], 1.5, None, "one integer"),
        ([[1.0]], [[1]], None, "boolean mask"),
        ([[1.0]], None, {"prior": [1.0]}, "part 'prior'"),
    ],
)
def test_shapes_are_checked(nats, tokens, parts, message) -> None:
    with pytest.raises(ValueError, match=message):
        Likelihood.of_batch(nats, tokens, parts)


def test_merging_different_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="same parts"):
        Likelihood.of_batch([1.0], 1, {"prior": [1.0]}) + Likelihood.of_batch([1.0], 1)


def test_torch_tensors_are_arrays() -> None:
    torch = pytest.importorskip("torch")
    mask = torch.tensor([[True, False]])
    assert Likelihood.of_batch(torch.tensor([[1.0, 7.0]]), mask).nats == 1.0
