"""Proteins: the tokenizer, files, and the families whose distribution is known."""

import itertools

import numpy as np
import pytest

from discrete_diffusion.datasets import (
    CategoryLabel,
    SyntheticProteins,
    decode,
    protein_tokenizer,
    proteins,
    sequence_data,
    synthetic_proteins,
)
from discrete_diffusion.datasets.protein_tokenizer import AMINO_ACIDS

SOURCE = SyntheticProteins.drawn(3, 0.5, 10, 20, seed=0)


def test_the_tokenizer():
    tokenizer = protein_tokenizer()
    assert len(tokenizer) == 31
    ids = tokenizer("MKbz")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<bos>", "M", "K", "B", "Z", "<eos>"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("M*-")["input_ids"][1:-1]) == ["M", "<unk>", "<unk>"]
    assert tokenizer("M<mask>K")["input_ids"][2] == tokenizer.mask_token_id
    assert tokenizer.unk_token_id not in tokenizer(AMINO_ACIDS + "BJOUXZ")["input_ids"]


def test_the_tokenizer_is_saved(tmp_path):
    from transformers import AutoTokenizer

    protein_tokenizer().save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("mKX")["input_ids"] == protein_tokenizer()("MKX")["input_ids"]


def test_a_file_of_proteins(tmp_path):
    (tmp_path / "a.faa").write_text(">a\nmkv*\n>b\nMK\nLA\n>c\nMK-L\n>d\n\n>e\nMW\n")
    rows = proteins(tmp_path / "a.faa")
    assert rows["sequence"][:] == ["MKV", "MKLA", "MK-L", "", "MW"]
    data = sequence_data(rows, tokenizer=protein_tokenizer(), max_dropped=0.5, validation=0.4)
    assert [(change.reason, change.rows) for change in data.report.changes] == [
        ("other letters than amino acids", (3,)),
        ("no string in the column 'sequence'", (4,)),
    ]
    found = [one for part in (data.train, data.validation) for one in decode(data.tokenizer, part["input_ids"][:])]
    assert sorted(found) == ["MKLA", "MKV", "MW"]
    (tmp_path / "b.csv").write_text("Protein,family\nMKV,x\n")
    assert proteins(tmp_path / "b.csv").column_names == ["sequence", "family"]
    (tmp_path / "c.txt").write_text("12\n34\n")
    with pytest.raises(ValueError, match=r"Expected proteins in the column 'sequence' of .*c\.txt, got '12'"):
        proteins(tmp_path / "c.txt")


def test_likelihood_by_hand():
    source = SyntheticProteins(SOURCE.transition, SOURCE.mean_extension, 1, 2)
    q = SOURCE.mean_extension
    m, a = AMINO_ACIDS.index("M"), AMINO_ACIDS.index("A")
    assert source.log_likelihoods(["M", "MA"]) == pytest.approx(np.log([1 - q, q * SOURCE.transition[:, m, a]]))
    assert np.isneginf(source.log_likelihoods(["", "A", "MX", "MAA"])).all()
    whole = np.exp(source.log_likelihoods(["M", *(f"M{letter}" for letter in AMINO_ACIDS)])).sum(0)
    assert whole == pytest.approx(np.ones(3))
    source = SyntheticProteins(SOURCE.transition, SOURCE.mean_extension, 3, 3)
    every = ["M" + "".join(pair) for pair in itertools.product(AMINO_ACIDS, repeat=2)]
    assert np.exp(source.log_likelihoods(every)).sum(0) == pytest.approx(np.ones(3))


def test_samples_have_the_distribution_of_their_family():
    sequences, families = SOURCE.sample(6000, seed=1)
    for family in range(3):
        own = [one for one, f in zip(sequences, families, strict=True) if f == family]
        lengths = np.bincount([len(one) for one in own], minlength=21)[10:] / len(own)
        assert lengths == pytest.approx(SOURCE.length_distribution(family), abs=0.04)
        pairs = np.zeros((20, 20))
        for one in own:
            codes = [AMINO_ACIDS.index(letter) for letter in one]
            np.add.at(pairs, (codes[:-1], codes[1:]), 1)
        often = pairs.sum(1) > 500
        assert often.sum() > 10
        shares = pairs[often] / pairs[often].sum(1, keepdims=True)
        assert shares == pytest.approx(SOURCE.transition[family][often], abs=0.08)
    assert all(one.startswith("M") for one in sequences)
    assert SOURCE.sample(10, seed=1)[0] == sequences[:10]


def test_families_overlap_but_can_be_distinguished():
    rows = synthetic_proteins(500)
    source = SyntheticProteins.drawn(5, 0.2, 40, 126, seed=0)
    right = source.posterior(rows["sequence"][:]).argmax(1) == np.arange(500) % 5
    assert 0.9 < right.mean() < 1
    data = sequence_data(rows, tokenizer=protein_tokenizer(), label=CategoryLabel("family"), length=128)
    assert data.report.changes == ()
    assert len({len(one) for one in rows["sequence"][:]}) > 20


@pytest.mark.parametrize("wrong", [{"size": 0}, {"families": 1}, {"divergence": -1}, {"shortest": 9, "longest": 8}])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match="Expected"):
        synthetic_proteins(**wrong)
