"""Measures of classifiers at each noise level, and their inputs, on answers known by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from discrete_diffusion.datasets import FittedCategoryLabel, ThresholdLabel
from discrete_diffusion.processes import Absorbing
from discrete_diffusion.schedules import Linear, LogLinear
from discrete_diffusion.trainer.classifier_views import Clean, HiddenPrefixes, Noisy, NoisyHidden, Prefixes
from discrete_diffusion.trainer.prediction_targets import Classes, Quantity, by_level

TWO = Classes(ThresholdLabel("qed", 0.5))


def sure(predicted: list[int], p: float = 0.8) -> torch.Tensor:
    """Logits whose softmax is `p` at the predicted of two classes."""
    odds = math.log(p / (1 - p))
    return torch.tensor([[0.0, odds] if one else [odds, 0.0] for one in predicted])


def test_accuracy_f1_and_calibration_of_two_classes():
    # true positives 2, false positives 1, false negatives 1, true negatives 6
    answers = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    measured = TWO.measure(sure([1, 1, 0, 1, 0, 0, 0, 0, 0, 0], p=0.9), answers)
    assert measured == pytest.approx(
        {
            "accuracy": 0.8,
            "f1_positive": 2 / 3,
            "f1_macro": (2 / 3 + 12 / 14) / 2,
            "ece": 0.1,  # 90 % sure everywhere, and right in 80 %
            "majority": 0.7,
        }
    )


def test_accuracy_hides_what_f1_shows():
    always = TWO.measure(sure([0] * 10), torch.tensor([1] + [0] * 9))
    assert (always["accuracy"], always["f1_positive"]) == (pytest.approx(0.9), 0.0)


def test_more_classes_have_no_positive_one():
    three = Classes(FittedCategoryLabel("kind", ("a", "b", "c")))
    measured = three.measure(torch.eye(3)[torch.tensor([0, 1, 2, 2])] * 9, torch.tensor([0, 1, 2, 1]))
    assert measured["accuracy"] == pytest.approx(0.75)
    assert measured["f1_macro"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert "f1_positive" not in measured


def test_a_gaussian_is_measured_in_the_column_s_units():
    quantity = Quantity("qed", center=10.0, scale=2.0)
    answers = torch.tensor([8.0, 10.0, 12.0, 14.0])
    outputs = torch.stack([torch.tensor([-1.0, 0.0, 1.0, 1.0]), torch.full((4,), -1.0)], -1)
    measured = quantity.measure(outputs, answers)
    assert measured["rmse"] == pytest.approx(1.0)  # one answer of four is missed by 2
    assert measured["r2"] == pytest.approx(1 - 4 / 20)
    assert measured["within_sigma"] == 0.75  # sigma is 2 / e
    assert measured["normal_within_sigma"] == pytest.approx(0.6827, abs=1e-4)
    torch.testing.assert_close(quantity.in_units(outputs[2]), torch.tensor([12.0, math.log(2) - 1]))
    assert quantity.measure(outputs[:1], answers[:1])["r2"] is None


def test_a_gaussian_s_loss_is_its_negative_log_density_in_standard_units():
    quantity = Quantity("qed", center=10.0, scale=2.0)
    outputs, answers = torch.tensor([[0.5, 0.3], [-1.0, -0.7]]), torch.tensor([9.0, 13.0])
    density = torch.distributions.Normal(outputs[:, 0], outputs[:, 1].exp()).log_prob((answers - 10) / 2)
    torch.testing.assert_close(quantity.loss(outputs, answers), -density)


def test_each_level_is_measured_apart():
    levels = torch.tensor([0.05, 0.05, 0.3, 0.7, 0.999, 1.0])
    answers, predicted = torch.tensor([1, 0, 1, 1, 0, 0]), [1, 0, 0, 1, 0, 1]
    rows = by_level(TWO, sure(predicted), answers, levels)
    assert [(row["level_from"], row["level_to"]) for row in rows] == [(0.0, 0.1), (0.3, 0.4), (0.7, 0.8), (0.9, 1.0)]
    assert [row["rows"] for row in rows] == [2, 1, 1, 2]
    assert [row["accuracy"] for row in rows] == [1.0, 0.0, 1.0, 0.5]
    assert [row["nats"] for row in rows] == pytest.approx(
        [-math.log(0.8), -math.log(0.2), -math.log(0.8), -math.log(0.8) / 2 - math.log(0.2) / 2]
    )


class Counting(nn.Module):
    """Answers with what it was shown: the share of tokens that are 9, and sigma."""

    def forward(self, x, sigma):
        return torch.stack([(x == 9).float().flatten(1).mean(1), sigma], -1)

    def prefixes(self, x, sigma):
        return torch.stack([self(x[:, : i + 1], sigma) for i in range(x.shape[1])], 1)


class Reader:
    """A generator whose hidden states are the tokens that each has seen last, `bos` (5) before the first."""

    def __init__(self, shifted: bool):
        self.shifted = shifted

    def encode(self, x, t):
        seen = torch.cat([torch.full_like(x[:, :1], 5), x[:, :-1]], 1) if self.shifted else x
        return seen[..., None].float().requires_grad_()


PAD = 0
SEQUENCES = torch.tensor([[3, 9, 4, PAD, PAD], [3, 9, 9, 9, 4]])


def test_noisy_sequences_are_as_noisy_as_the_level_says(generator):
    view = Noisy(Absorbing(LogLinear(), vocab_size=10, mask_id=9))
    x0 = torch.zeros(400, 50, dtype=torch.long)
    seen = view(Counting(), x0, generator=generator)
    masked, sigma = seen.outputs[:, 0].unbind(-1)
    torch.testing.assert_close(masked, seen.levels[:, 0], atol=0.3, rtol=0)
    assert (masked - seen.levels[:, 0]).mean().abs() < 0.01
    torch.testing.assert_close(sigma, LogLinear().sigma(seen.levels[:, 0]))
    assert seen.counted.all()
    assert (seen.levels[1:] < seen.levels[:-1]).any()  # in no order, so that draws of one row differ
    again = view(Counting(), x0, generator=generator)
    assert (again.levels - seen.levels).abs().mean() > 0.2


def test_hidden_states_of_noise_carry_no_gradient_to_the_generator(generator):
    process = Absorbing(Linear(), vocab_size=10, mask_id=9)
    seen = NoisyHidden(Reader(shifted=False), process)(Counting(), SEQUENCES, generator=generator)
    assert seen.outputs.shape == (2, 1, 2)
    assert not seen.outputs.requires_grad


def test_prefixes_leave_padding_out(generator):
    seen = Prefixes(PAD)(Counting(), SEQUENCES, generator=generator)
    assert seen.outputs[0, :, 0].tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert seen.counted.tolist() == [[True, True, True, False, False], [True] * 5]
    assert seen.levels[0, :3].tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert seen.levels[1].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert (seen.outputs[..., 1] == 0).all()


def test_hidden_prefixes_have_seen_one_token_less(generator):
    seen = HiddenPrefixes(Reader(shifted=True), PAD)(Counting(), SEQUENCES, generator=generator)
    # states: bos; bos 3; bos 3 9; bos 3 9 4, the end; and one that has seen padding
    assert seen.outputs[0, :, 0].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4, 1 / 5])
    assert seen.counted.tolist() == [[True, True, True, True, False], [True] * 5]
    assert seen.levels[0, :4].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert not seen.outputs.requires_grad


def test_clean_data_are_shown_as_they_are(generator):
    seen = Clean()(Counting(), SEQUENCES, generator=generator)
    assert seen.outputs[:, 0].tolist() == [pytest.approx([1 / 5, 0]), pytest.approx([3 / 5, 0])]


def test_a_number_needs_numbers_that_differ(classless_data):
    with pytest.raises(ValueError, match="Expected numbers that differ in the column 'one', got 1 throughout"):
        Quantity.of("one", classless_data)
    with pytest.raises(ValueError, match="Expected a finite number in every row of the column 'gaps'"):
        Quantity.of("gaps", classless_data)
    found = Quantity.of("n", classless_data)
    assert (found.center, found.scale) == (pytest.approx(1.5), pytest.approx(math.sqrt(1.25)))


@pytest.fixture
def classless_data():
    import datasets

    rows = {"n": [0, 1, 2, 3], "one": [1.0] * 4, "gaps": [0.0, 1.0, None, 2.0]}
    part = datasets.Dataset.from_dict(rows)
    return SimpleNamespace(rows=part, validation=part)
