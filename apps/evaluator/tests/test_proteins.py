from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from discrete_diffusion.datasets import (
    SequenceData,
    SyntheticProteins,
    protein_tokenizer,
    sequence_data,
    synthetic_proteins,
)
from discrete_diffusion.eval import hydrophobicity
from discrete_diffusion.evaluator.domains import domain
from discrete_diffusion.evaluator.domains.domain import Run, build_domain
from discrete_diffusion.evaluator.domains.proteins import Proteins
from discrete_diffusion.evaluator.point import Point

LAW = SyntheticProteins.drawn(3, 0.5, 30, 60, seed=0)


@pytest.fixture(scope="module")
def data() -> SequenceData:
    rows = synthetic_proteins(900, 30, 60, 3, divergence=0.5)
    return sequence_data(rows, "sequence", tokenizer=protein_tokenizer(), validation=0.2)


@pytest.fixture(scope="module")
def metrics(data: SequenceData) -> Proteins:
    return Proteins(data, nearest_rows=40)


def test_counts_by_hand(metrics: Proteins):
    known = metrics.references[0]
    fresh = "MKX" * 20
    outcome = metrics([known, fresh, fresh, "MK<mask>", "", "mk"])
    numbers = outcome.numbers
    assert [numbers[name] for name in ("generated", "valid", "distinct", "novel")] == [6, 3, 2, 1]
    assert outcome.novel == [fresh]
    assert outcome.values == [pytest.approx(-1.0)]
    assert [row["valid"] for row in outcome.samples] == [True, True, True, False, False, False]
    assert numbers["length_mean"] == pytest.approx((len(known) + 120) / 3)
    assert not metrics.accepts("mk")


def test_names_of_special_tokens_are_no_amino_acids(metrics: Proteins):
    marked, plain = (metrics([f"MKV{token}GW"] * 20).numbers for token in ("<mask><pad>", "--"))
    names = [name for name in plain if name.startswith("js_distance")]
    assert [marked[name] for name in names] == [plain[name] for name in names]
    assert marked["discriminator_auroc"] == plain["discriminator_auroc"]


def test_a_few_letters_are_not_novel(metrics: Proteins):
    shortest = min(map(len, metrics.known))
    outcome = metrics(["W", "W" * (shortest - 1), "W" * shortest])
    assert outcome.numbers["valid"] == 3
    assert outcome.novel == ["W" * shortest]


def test_samples_of_the_same_distribution_look_like_held_out_data(metrics: Proteins):
    good = metrics(LAW.sample(180, seed=9)[0]).numbers
    assert good["js_distance_2"] == pytest.approx(good["held_out_js_distance_2"], rel=0.2)
    assert good["discriminator_auroc"] == pytest.approx(0.5, abs=0.12)
    assert good["length_distance"] < 1
    assert good["hydrophobicity_distance"] < 0.1
    assert good["nearest_identity_mean"] == pytest.approx(good["held_out_nearest_identity_mean"], abs=0.03)
    bad = metrics(["M" + "A" * 29] * 20).numbers
    assert bad["js_distance_1"] > 0.6
    assert bad["low_complexity_mean"] == 1
    assert bad["discriminator_auroc"] > 0.99
    assert metrics(metrics.references[:20]).numbers["nearest_identity_mean"] == 1


def test_nothing_valid(metrics: Proteins):
    for strings in ([], ["<mask>", ""]):
        numbers = metrics(strings).numbers
        assert numbers["valid"] == numbers["novel"] == 0
        assert numbers["length_mean"] is numbers["nearest_identity_mean"] is numbers["discriminator_auroc"] is None


def test_the_configuration(data: SequenceData):
    made = build_domain(
        OmegaConf.create({"property": {"_target_": "builtins.len", "_partial_": True}}), "proteins", data
    )
    assert isinstance(made, Proteins)
    assert made.property_name == "len"
    config = OmegaConf.load(Path(domain.__file__).parents[1] / "config" / "metrics" / "proteins.yaml")
    config.property = None
    plain = instantiate(config)(data=data)
    assert plain.property_name == "hydrophobicity"
    assert plain.training["mean"] == pytest.approx(np.mean([hydrophobicity(one) for one in plain.references]))


def test_pictures(metrics: Proteins, tmp_path: Path):
    samples = LAW.sample(60, seed=9)[0]
    plain, guided = Point("none", None, "all", 30), Point("D-CFG", 2.0, "family_0", 30, label=0)
    runs = [Run(plain, 1, metrics(samples[:30])), Run(guided, 1, metrics(samples[30:]))]
    paths = metrics.draw(runs, tmp_path, chosen=guided, shown=3)
    assert [path.name for path in paths] == ["composition.png", "distribution.png"]
    assert all(path.stat().st_size > 5000 for path in paths)
