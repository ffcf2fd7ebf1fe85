import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.special import log_softmax, rel_entr

pytest.importorskip("torchmetrics")

from discrete_diffusion.eval.metrics.image_distances import FrechetDistance, frechet_distance, inception_score
from discrete_diffusion.eval.metrics.image_features import PixelComponents, classifier_features, inception_features


def images(seed: int, n: int, shape: tuple[int, ...] = (1, 4, 4)) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8))


def closed_form(x: np.ndarray, y: np.ndarray) -> float:
    """Dowson and Landau's distance of Gaussians, with the square root of a matrix."""
    a, b = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(a @ b).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root))


def test_frechet_distance_is_the_closed_form_of_the_fitted_gaussians() -> None:
    mixed = torch.randn(16, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def features(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1).double() / 255) @ mixed

    real, other = images(0, 300), images(1, 200) // 2
    expected = closed_form(features(real).numpy(), features(other).numpy())
    assert frechet_distance(real, other, features) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(real, other, features, batch_size=7) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(real, real, features) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_shifted_features_is_the_square_of_the_shift() -> None:
    # Equal covariances leave |mu - mu'|^2: 10 levels in one feature, 20 in the other.
    real = images(0, 500, (1, 1, 2)) // 4
    moved = real + torch.tensor([10, 20], dtype=torch.uint8)
    assert frechet_distance(real, moved, lambda x: x.flatten(1)) == pytest.approx(500, rel=1e-9)


def test_one_set_of_real_images_serves_any_number_of_comparisons() -> None:
    real, first, second = images(0, 50), images(1, 40) // 2, images(2, 30) // 3
    calls = []

    def features(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return x.flatten(1)[:, :3].float()

    distance = FrechetDistance(real, features)
    assert sum(calls) == 51  # one to learn how many features there are
    expected = [frechet_distance(real, one, features) for one in (first, second, first)]
    del calls[:]
    assert [distance(one) for one in (first, second, first)] == pytest.approx(expected, rel=1e-12)
    assert calls == [40, 30, 40]
    with pytest.raises(
        ValueError, match=r"Expected at least 2 images, uint8 \(n, c, h, w\), got torch.uint8 \(1, 1, 4"
    ):
        distance(real[:1])
    with pytest.raises(ValueError, match=r"got torch.float32"):
        FrechetDistance(real.float(), features)


def test_inception_score_is_its_formula() -> None:
    mixed = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))

    def logits(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1).float() / 64 - 2) @ mixed

    x = images(0, 120)
    p = np.exp(log_softmax(logits(x).double().numpy(), axis=1))
    expected = np.exp(rel_entr(p, p.mean(0)).sum(1).mean())
    assert inception_score(x, logits, splits=1, batch_size=50) == (pytest.approx(expected, rel=1e-6), None)
    mean, deviation = inception_score(x, logits, splits=3)
    assert 1 < mean < 4
    assert deviation is not None
    assert deviation > 0


def test_inception_score_between_its_bounds() -> None:
    x = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1)
    certain = inception_score(x, lambda one: 50 * torch.eye(4)[one.flatten().long() % 4], splits=1)[0]
    ignorant = inception_score(x, lambda one: torch.zeros(len(one), 4), splits=1)[0]
    same = inception_score(x, lambda one: 50 * torch.eye(4)[torch.zeros(len(one)).long()], splits=1)[0]
    assert (certain, ignorant, same) == (pytest.approx(4), pytest.approx(1), pytest.approx(1))
    with pytest.raises(ValueError, match="Expected 1 <= `splits` <= 40, the number of images, got 41"):
        inception_score(x, lambda one: torch.zeros(len(one), 4), splits=41)


def test_inception_score_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    x, logits = images(0, 30), lambda one: one.flatten(1).float() / 64
    assert inception_score(x, logits, splits=3, seed=5) == inception_score(x, logits, splits=3, seed=5)
    assert inception_score(x, logits, splits=3, seed=5) != inception_score(x, logits, splits=3, seed=6)
    assert torch.get_rng_state().equal(before)


def test_components_are_the_leading_eigenvectors_of_the_covariance() -> None:
    x = images(0, 80, (1, 3, 3))
    found = PixelComponents(x, 4)(x).double().numpy()
    pixels = x.flatten(1).double().numpy() / 255
    values = np.linalg.eigvalsh(np.cov(pixels.T))[::-1]
    assert np.sort(found.var(0, ddof=1))[::-1] == pytest.approx(values[:4], rel=1e-4)
    assert np.cov(found.T) == pytest.approx(np.diag(found.var(0, ddof=1)), abs=1e-5)
    assert found.mean(0) == pytest.approx(0, abs=1e-6)
    # As many as there can be, where there are few images or few pixels.
    assert PixelComponents(x[:5])(x).shape == (80, 4)
    assert PixelComponents(x)(x).shape == (80, 8)
    with pytest.raises(ValueError, match="Expected at least 3 images, got 2"):
        PixelComponents(x[:2])


@pytest.mark.parametrize("levels", [2, 17, 100, 256])
def test_classifier_receives_its_own_levels(levels: int) -> None:
    tokens = torch.arange(levels).repeat(6).view(-1, 6)  # every level, (n, h * w * c)
    shown = (tokens * 255 / (levels - 1)).round().byte().view(-1, 1, 2, 3).permute(0, 3, 1, 2)
    received = []

    def network(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        received.append((x, sigma))
        return x.float()

    features = classifier_features(network, levels)(shown)
    ((x, sigma),) = received
    assert x.equal(tokens)
    assert sigma.equal(torch.zeros(len(tokens)))
    assert features.equal(tokens.float())


def test_missing_parts_of_inception_are_named(tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match="Expected `layer` to be one of 64, 192, 768, 2048, logits_unbiased, got '7'"):
        inception_features("weights.pth", "7")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="`pip install torch-fidelity`"):
        inception_features("weights.pth")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(FileNotFoundError, match=r"weights\.pth does not exist"):
        inception_features(tmp_path / "weights.pth")
    (tmp_path / "weights.pth").write_text("no weights")
    with pytest.raises(ValueError, match=r"Expected weights of torch-fidelity in .*weights\.pth"):
        inception_features(tmp_path / "weights.pth")


def test_inception_receives_color_images_and_weights_without_code(tmp_path, monkeypatch) -> None:
    class Network(torch.nn.Module):
        def __init__(self, name: str, layers: list[str], path: str, antialias: bool) -> None:
            super().__init__()
            self.layers, self.antialias = layers, antialias
            self.weights = torch.load(path, weights_only=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[1] == 3
            assert (self.layers, self.antialias) == (["2048"], False)
            return x.double().mean((1, 2, 3))[:, None] * self.weights["scale"]

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("torchmetrics.image.fid.NoTrainInceptionV3", Network)
    torch.save({"scale": torch.tensor(2.0)}, tmp_path / "weights.pth")
    x = images(0, 3)
    expected = 2 * x.double().mean((1, 2, 3))
    assert torch.allclose(inception_features(tmp_path / "weights.pth")(x)[:, 0], expected)
