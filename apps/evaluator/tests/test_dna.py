from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.spatial.distance import jensenshannon

from discrete_diffusion.datasets import CategoryLabel, Padded, SequenceData, sequence_data
from discrete_diffusion.datasets.dna_tokenizer import dna_tokenizer
from discrete_diffusion.datasets.species_distribution import SyntheticSpecies
from discrete_diffusion.datasets.synthetic_species import synthetic_species
from discrete_diffusion.evaluator.domains import dna, domain
from discrete_diffusion.evaluator.domains.dna import DNA
from discrete_diffusion.evaluator.domains.domain import Run, build_domain
from discrete_diffusion.evaluator.point import Point

SOURCE = SyntheticSpecies.drawn(3, 2, 0.6, seed=0)


@pytest.fixture(scope="module")
def data() -> SequenceData:
    rows = synthetic_species(900, 64, 3, divergence=0.6)
    layout, label = Padded(special_tokens=False), CategoryLabel("species")
    return sequence_data(rows, "sequence", tokenizer=dna_tokenizer(), label=label, layout=layout, validation=0.2)


@pytest.fixture(scope="module")
def metrics(data: SequenceData) -> DNA:
    return DNA(data)


def test_counts_by_hand(metrics: DNA):
    known = metrics.references[0]
    fresh, unknown = "GGCA" * 16, "N" * 64
    outcome = metrics([known, fresh, fresh, "GG[MASK]CA", "", unknown, "acgt"])
    numbers = outcome.numbers
    assert [numbers[name] for name in ("generated", "valid", "distinct", "novel")] == [7, 4, 3, 2]
    assert numbers["valid_fraction"] == 4 / 7
    assert outcome.novel == [fresh, unknown]
    assert outcome.values[0] == numbers["novel_property_mean"] == 0.75
    assert [row["valid"] for row in outcome.samples] == [True, True, True, False, False, True, False]
    assert [row["novel"] for row in outcome.samples] == [False, True, True, False, False, True, False]
    assert outcome.samples[3]["property"] is None
    assert not metrics.accepts("acgt")


def test_names_of_special_tokens_are_no_bases(metrics: DNA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outcome = metrics(["GGCATT[CLS][MASK]"] * 20)
    shown: dict[str, list[str]] = {}
    monkeypatch.setattr(dna, "draw_composition", lambda rows, path: shown.update(rows) or path)
    point = Point("none", None, "unconditional", 20)
    metrics.draw([Run(point, 1, outcome)], tmp_path, chosen=point, shown=4)
    assert set(shown[point.title()]) == {"GGCATT**"}
    assert outcome.samples[0]["string"] == "GGCATT[CLS][MASK]"


def test_a_few_letters_are_not_novel(metrics: DNA):
    outcome = metrics(["C", "G" * 63, "G" * 64])
    assert outcome.numbers["valid"] == 3
    assert outcome.novel == ["G" * 64]


def test_training_data_of_another_case_are_known(data: SequenceData):
    lower = {one: one for one in ("acgtacgt", "ggggcccc", "ttttaaaa")}
    rows = synthetic_species(4, 8, 2).from_dict({"sequence": [*lower, "ACGTTTTT"]})
    made = sequence_data(
        rows, "sequence", tokenizer=dna_tokenizer(), layout=Padded(special_tokens=False), validation=0.25
    )
    known = [one.upper() for one in made.train.with_format(None)["sequence"][:]]
    assert DNA(made)(known).novel == []


def test_kmers_against_scipy_and_chance(metrics: DNA):
    expected = np.mean([SOURCE.kmer_distribution(s, 3) for s in range(3)], axis=0)
    good, bad = SOURCE.sample(900, 64, seed=9)[0], ["ACGT" * 16] * 20
    numbers = metrics(good).numbers
    assert numbers["js_distance_3"] == pytest.approx(numbers["js_divergence_3"] ** 0.5)
    assert numbers["js_distance_3"] == pytest.approx(jensenshannon(metrics.kmers.spectra[3], expected), abs=0.01)
    assert numbers["js_distance_3"] < 0.05
    assert numbers["discriminator_auroc"] == pytest.approx(0.5, abs=0.1)
    some = metrics(SOURCE.sample(90, 64, seed=9)[0]).numbers
    # Chance is the larger the fewer there are, and the more k-mers.
    assert some["held_out_js_distance_3"] > numbers["held_out_js_distance_3"]
    assert some["held_out_js_distance_6"] > some["held_out_js_distance_3"]
    assert some["js_distance_6"] == pytest.approx(some["held_out_js_distance_6"], rel=0.15)
    worse = metrics(bad).numbers
    assert worse["js_distance_3"] > 0.5
    assert worse["discriminator_auroc"] > 0.99
    assert (worse["distinct"], worse["novel"]) == (1, 1)


def test_samples_are_compared_with_their_class(metrics: DNA):
    samples, species = SOURCE.sample(300, 64, seed=9)
    right = metrics(samples, species).numbers["js_distance_3_by_class"]
    wrong = metrics(samples, (species + 1) % 3).numbers["js_distance_3_by_class"]
    assert right < wrong / 2
    assert metrics([*samples, "NNN"], [*species, 0]).numbers["js_distance_6_by_class"] < 0.5
    with pytest.raises(ValueError, match="a class for each of 300 samples"):
        metrics(samples, species[:3])


def test_nothing_valid(metrics: DNA):
    for strings in ([], ["[MASK]", ""]):
        numbers = metrics(strings).numbers
        assert (numbers["valid"], numbers["novel"], numbers["js_distance_3"], numbers["discriminator_auroc"]) == (
            *(0, 0),
            *(None, None),
        )
        assert numbers["novel_property_mean"] is None


def test_another_property_by_the_config(data: SequenceData):
    made = build_domain(OmegaConf.create({"property": {"_target_": "builtins.len", "_partial_": True}}), "dna", data)
    assert isinstance(made, DNA)
    assert made.property_name == "len"
    assert made(["ACGN" * 20]).values == [80]
    config = OmegaConf.load(Path(domain.__file__).parents[1] / "config" / "metrics" / "dna.yaml")
    config.property = None
    plain = instantiate(config)(data=data)
    assert plain.property_name == "GC content"
    assert plain.training["mean"] == pytest.approx(
        np.mean([SOURCE.kmer_distribution(s, 1)[1:3].sum() for s in range(3)]), abs=0.01
    )


def test_pictures(metrics: DNA, tmp_path: Path):
    samples = SOURCE.sample(120, 64, seed=9)[0]
    plain, guided = Point("none", None, "all", 60), Point("D-CFG", 2.0, "species_0", 60, label=0)
    runs = [Run(plain, 1, metrics(samples[:60])), Run(guided, 1, metrics(samples[60:])), Run(guided, 2, metrics(["A"]))]
    paths = metrics.draw(runs, tmp_path, chosen=guided, shown=3)
    assert [path.name for path in paths] == ["kmers.png", "composition.png", "sequences.png", "distribution.png"]
    assert all(path.stat().st_size > 5000 for path in paths)
    nothing = [Run(guided, 1, metrics(["[MASK]"]))]
    assert all(path.exists() for path in metrics.draw(nothing, tmp_path / "none", chosen=guided, shown=3))
