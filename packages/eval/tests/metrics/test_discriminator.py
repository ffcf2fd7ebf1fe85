import numpy as np
import pytest

pytest.importorskip("sklearn")

from discrete_diffusion.eval.metrics.discriminator import discriminator_auroc, kmer_shares


def random_dna(seed: int, count: int, length: int, p=(0.25, 0.25, 0.25, 0.25)) -> list[str]:
    return ["".join(row) for row in np.random.default_rng(seed).choice(list("ACGT"), (count, length), p=p)]


def test_samples_of_the_same_distribution_are_indistinguishable() -> None:
    auroc = discriminator_auroc(random_dna(0, 400, 60), random_dna(1, 400, 60))
    # The standard error of an AUROC of 1/2 is about √((2 n + 1) / (12 n²)) = 0.02 here.
    assert auroc == pytest.approx(0.5, abs=0.06)


def test_samples_of_another_distribution_are_separable() -> None:
    real, generated = random_dna(0, 200, 60), random_dna(1, 100, 60, p=(0.4, 0.1, 0.1, 0.4))
    assert discriminator_auroc(real, generated) > 0.97
    close = random_dna(1, 100, 60, p=(0.3, 0.2, 0.2, 0.3))
    first, again, other = (discriminator_auroc(real, close, seed=seed) for seed in (3, 3, 4))
    assert 0.55 < first < 0.95
    assert first == again != other


def test_area_of_a_known_classifier() -> None:
    # One feature, two normal distributions a distance d apart: the AUROC is Φ(d / √2), 0.760 for d = 1.
    rng = np.random.default_rng(0)
    values = {str(i): x for i, x in enumerate([*rng.normal(0, 1, 2000), *rng.normal(1, 1, 2000)])}
    names = list(values)
    auroc = discriminator_auroc(names[:2000], names[2000:], features=lambda some: [[values[one]] for one in some])
    assert auroc == pytest.approx(0.760, abs=0.02)


def test_too_few_sequences_and_wrong_features() -> None:
    assert discriminator_auroc(["ACG"] * 4, ["ACG"] * 9) is None
    assert discriminator_auroc(["ACG"] * 9, []) is None
    assert discriminator_auroc(["ACG"] * 9, ["ACG"] * 9) == 0.5
    with pytest.raises(ValueError, match="Expected `folds` >= 2, got 1"):
        discriminator_auroc(["A"], ["A"], folds=1)
    with pytest.raises(ValueError, match=r"Expected `features` of shape \(5, d\), got \(5,\)"):
        discriminator_auroc(["A"] * 5, ["A"] * 5, features=lambda some: np.zeros(len(some)))


def test_shares_of_a_hand_computed_example() -> None:
    assert kmer_shares(["AAC", "N"], 1).tolist() == [[2 / 3, 1 / 3, 0, 0], [0, 0, 0, 0]]
