"""Metrics of images against counts by hand, and figures of images."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from discrete_diffusion.datasets import (
    CategoryLabel,
    Padded,
    SequenceData,
    decode,
    digits,
    pixel_tokenizer,
    sequence_data,
)
from discrete_diffusion.eval import Pixels
from discrete_diffusion.evaluator.domains.domain import Run
from discrete_diffusion.evaluator.domains.images import Images
from discrete_diffusion.evaluator.point import Point


@pytest.fixture(scope="module")
def data() -> SequenceData:
    tokenizer = pixel_tokenizer(17)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    rows = digits().select(range(300))
    return sequence_data(
        rows, "pixels", tokenizer=tokenizer, label=CategoryLabel("digit"), layout=Padded(special_tokens=False)
    )


@pytest.fixture(scope="module")
def metrics(data: SequenceData) -> Images:
    return Images(data)


def images(data: SequenceData, part: str) -> list[str]:
    return decode(data.tokenizer, getattr(data, part)[:]["input_ids"])


def test_a_sample_is_what_it_looks_like(data: SequenceData, metrics: Images) -> None:
    known, new = images(data, "train")[:3], images(data, "validation")
    broken = ["<mask> " + known[0].partition(" ")[2], known[1] + " 3", known[2].rpartition(" ")[0], "", "17 " * 64]
    outcome = metrics([*known, *new, new[0], *broken])
    total, numbers = len(known) + len(new) + 1 + len(broken), outcome.numbers
    assert numbers["generated"] == total
    assert (numbers["valid"], numbers["distinct"], numbers["novel"]) == (len(new) + 4, len(new) + 3, len(new))
    assert numbers["novel_fraction"] == len(new) / total
    assert list(outcome.novel) == new
    intensity = [np.mean(list(map(int, one.split()))) / 16 for one in new]
    assert outcome.values == pytest.approx(intensity)
    assert numbers["novel_property_mean"] == pytest.approx(np.mean(intensity))
    assert [row["valid"] for row in outcome.samples] == [True] * (len(new) + 4) + [False] * 5
    assert [row["property"] for row in outcome.samples][-5:] == [None] * 5
    assert [metrics.accepts(one) for one in (known[0], *broken)] == [True] + [False] * 5
    assert metrics.illustrate(broken[0], (16, 16)) is None


def test_the_distance_to_the_nearest_training_image(data: SequenceData, metrics: Images) -> None:
    new = images(data, "validation")
    train = data.train[:]["input_ids"].double()
    expected = [torch.cdist(x[None].double(), train).min().item() / 8 / 16 for x in data.validation[:]["input_ids"]]
    outcome = metrics(new)
    assert [row["nearest_training"] for row in outcome.samples] == pytest.approx(expected)
    assert outcome.numbers["nearest_training_mean"] == pytest.approx(np.mean(expected))
    assert metrics(images(data, "train")[:4]).numbers["nearest_training_mean"] == 0


def test_frechet_distance_tells_digits_from_noise_and_from_repetition(data: SequenceData, metrics: Images) -> None:
    new = images(data, "validation")
    noise = decode(data.tokenizer, torch.randint(17, (len(new), 64), generator=torch.Generator().manual_seed(0)))
    near, far, one = (metrics(strings).numbers["pixel_fid"] for strings in (new, noise, new[:1] * len(new)))
    assert near < far
    assert near < one
    assert metrics(images(data, "train")).numbers["pixel_fid"] == pytest.approx(0, abs=1e-6)


def test_any_network_gives_a_distance_and_a_score(data: SequenceData) -> None:
    metrics = Images(data, features=lambda x: x.flatten(1)[:, 10:14].float(), logits=bright)
    numbers = metrics(images(data, "train")).numbers
    assert numbers["fid"] == pytest.approx(0, abs=1e-6)
    assert 1 < numbers["inception_score"] < 2
    assert set(Images(data)(["1"]).numbers) == set(numbers) - {"fid", "inception_score"}


def bright(x: torch.Tensor) -> torch.Tensor:
    logit = x.flatten(1).double().mean(1) / 8 - 10
    return torch.stack([logit, -logit], 1)


def test_few_or_no_samples_leave_gaps_and_no_errors(data: SequenceData, metrics: Images) -> None:
    nothing = metrics(["<mask>"]).numbers
    assert (nothing["valid"], nothing["novel"]) == (0, 0)
    assert nothing["pixel_fid"] is nothing["nearest_training_mean"] is nothing["novel_property_mean"] is None
    alone = metrics(images(data, "validation")[:1]).numbers
    assert alone["pixel_fid"] is None
    assert alone["nearest_training_min"] > 0
    assert set(alone) == set(nothing)


def test_a_property_of_ones_own(data: SequenceData) -> None:
    metrics = Images(data, property=corner, rows=10)
    assert (metrics.property_name, metrics.training["mean"]) == ("corner", 0)
    assert len(metrics.known.images) == 10
    # All training images count as known, not only those that distances are measured to.
    assert metrics(images(data, "train")).numbers["novel"] == 0


def corner(string: str) -> float:
    return float(string.split()[0])


def test_pictures(data: SequenceData, metrics: Images, tmp_path: Path) -> None:
    condition = Point("classifier_free", 1.0, "digit 3", 24)
    new = images(data, "validation")
    runs = [Run(condition, 1, metrics(new)), Run(condition, 2, metrics(["1"]))]
    drawn = metrics.draw(runs, tmp_path, chosen=condition, shown=12)
    assert {path.name for path in drawn} == {"images.png", "distribution.png"}
    picture = metrics.illustrate(new[0], (80, 80))
    assert picture is not None
    assert picture.size == (80, 80)
    levels = np.array(new[0].split(), dtype=int).reshape(8, 8)
    assert (np.asarray(picture)[5::10, 5::10, 0] == np.round(levels * 255 / 16)).all()
    metrics.draw([Run(condition, 1, metrics(["1"]))], tmp_path / "none", chosen=condition, shown=12)
    with Image.open(tmp_path / "none" / "images.png") as image:
        assert image.width > 100


@pytest.mark.parametrize(
    ("length", "given", "shape"),
    [
        (64, {}, (8, 8, 1)),
        (3072, {}, (32, 32, 3)),
        (24, {"height": 2, "channels": 3}, (2, 4, 3)),
        (12, {"height": 3, "width": 4}, (3, 4, 1)),
        (48, {"channels": 3}, (4, 4, 3)),
    ],
)
def test_the_shape_of_images(length: int, given: dict[str, int], shape: tuple[int, int, int]) -> None:
    assert Pixels.of(pixel_tokenizer(4).get_vocab(), length, **given).shape == shape


def test_images_of_no_shape() -> None:
    with pytest.raises(ValueError, match=r"Expected images of 10 tokens, got `height`"):
        Pixels.of(pixel_tokenizer(4).get_vocab(), 10)
    with pytest.raises(ValueError, match="Expected images of 64 tokens, got `height` 7"):
        Pixels.of(pixel_tokenizer(4).get_vocab(), 64, height=7)


def test_a_classifier_of_ours_gives_both(data: SequenceData, monkeypatch: pytest.MonkeyPatch) -> None:
    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            assert x.max() < 17
            return torch.stack([x.double().mean(1) - 5, 0 * sigma], 1)

    loaded = {"run": SimpleNamespace(network=Network())}
    monkeypatch.setattr("discrete_diffusion.evaluator.domains.images.load_classifier", loaded.__getitem__)
    strings = images(data, "train")
    numbers = Images(data, classifier="run")(strings).numbers
    assert numbers["fid"] == pytest.approx(0, abs=1e-6)
    logits = np.array([np.mean(list(map(int, one.split()))) - 5 for one in strings])
    chances = np.stack([logits, 0 * logits], 1)
    p = np.exp(chances) / np.exp(chances).sum(1, keepdims=True)
    whole = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    # Parts of 28 or 29 images have means of their own, so that the mean of their scores is near the whole's, no more.
    assert numbers["inception_score"] == pytest.approx(whole, abs=0.02)
