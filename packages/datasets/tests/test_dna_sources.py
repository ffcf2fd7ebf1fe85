import gzip
import itertools
import math

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from discrete_diffusion.datasets.fasta import clean_sequence, read_fasta
from discrete_diffusion.datasets.species10 import SPECIES, species10
from discrete_diffusion.datasets.species_distribution import SyntheticSpecies
from discrete_diffusion.datasets.synthetic_species import synthetic_species

FASTA = b">chr1 first of two\nACGTac\r\ngtnn\n\n>chr2\nRYK-*.\nA\n"
RECORDS = [("chr1", "ACGTACGTNN"), ("chr2", "NNNNNNA")]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sequences(rows):
    return list(zip(rows["sequence"][:], rows["species"][:], strict=True))


def reverse_complement(sequence):
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def test_fasta_files_and_folders(tmp_path):
    (tmp_path / "b.fa").write_bytes(FASTA)
    (tmp_path / "a.FNA.gz").write_bytes(gzip.compress(b">chrM\nacgt"))
    (tmp_path / "notes.txt").write_text("no DNA")
    assert list(read_fasta(tmp_path / "b.fa")) == RECORDS
    assert list(read_fasta(str(tmp_path))) == [("chrM", "ACGT"), *RECORDS]
    assert clean_sequence("aCgTnU é") == "ACGTNNNN"


def test_records_are_read_one_at_a_time(tmp_path):
    (tmp_path / "a.fa").write_bytes(FASTA + b">bad\n12")
    records = read_fasta(tmp_path / "a.fa")
    assert [next(records), next(records)] == RECORDS
    with pytest.raises(ValueError, match=r"Expected letters of DNA in line 9 of .*a\.fa, got '1'"):
        next(records)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\nACGT\n", "Expected a record that begins with `>` in line 2 of"),
        (b">a\nAC\n> \nAC", "Expected a name after `>` in line 3 of"),
        (b">a\n>b\nAC", "Expected a sequence after `>a` in line 1 of"),
        (b">a\nAC\n>b", "Expected a sequence after `>b` in line 3 of"),
        (b"\n", "Expected records that begin with `>` in"),
        (b">a\nA\x00", r"line 2 of .*, got '\\x00'"),
    ],
)
def test_what_is_no_fasta_is_named(tmp_path, content, message):
    (tmp_path / "a.fa").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_fasta(tmp_path / "a.fa"))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "a.fa.gz").write_bytes(b"plain")
    (tmp_path / "b.fa.gz").write_bytes(gzip.compress(FASTA * 100)[:60])
    for name in ("a.fa.gz", "b.fa.gz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            list(read_fasta(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"Expected a FASTA file or a folder of them \(\.fa, "):
        list(read_fasta(tmp_path / "none.fa"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"Expected FASTA files .*empty, which holds none"):
        list(read_fasta(tmp_path / "empty"))


def test_genomes_are_cut_without_overlap(tmp_path):
    (tmp_path / "Danio_rerio.fa.gz").write_bytes(gzip.compress(b">1\nAAAACCCCGG\n>2\nTTT\n"))
    (tmp_path / "Felis_catus.fna").write_bytes(b">1\nACGTNNNNNNGTACNN")
    rows = species10(tmp_path, chunk=4)
    assert sequences(rows) == [
        ("AAAA", "Danio_rerio"),
        ("CCCC", "Danio_rerio"),
        ("ACGT", "Felis_catus"),
        ("NNGT", "Felis_catus"),
        ("ACNN", "Felis_catus"),
    ]
    assert [s for s, _ in sequences(species10(tmp_path, chunk=4, max_unknown=0))] == ["AAAA", "CCCC", "ACGT"]
    assert len(species10(tmp_path, chunk=4, max_unknown=1)) == 6


def test_every_way_to_name_the_species(tmp_path):
    expected = [("ACGT", "Homo_sapiens"), ("GGCC", "Homo_sapiens"), ("TTTT", "Mus_musculus")]
    (tmp_path / "all.fasta").write_text(">Homo_sapiens|chr1 x\nacgtGGCCA\n>Mus_musculus 7\nTTTT\n")
    assert sequences(species10(tmp_path / "all.fasta", chunk=4)) == expected
    (tmp_path / "all.csv").write_text("sequence,species\nacgtGGCCA,Homo_sapiens\nTTTT,Mus_musculus\n")
    assert sequences(species10(tmp_path / "all.csv", chunk=4)) == expected
    labels = pa.table({"sequence": ["ACGT", "GGCC", "TTTT"], "species_label": [0, 0, 1]})
    pa.parquet.write_table(labels, tmp_path / "all.parquet")
    assert sequences(species10(tmp_path / "all.parquet", chunk=4)) == expected


def test_chunks_are_kept_until_the_files_change(tmp_path, cache):
    path = tmp_path / "a.fa"
    path.write_text(">a\nACGT")
    assert sequences(species10(path, chunk=2)) == [("AC", "a"), ("GT", "a")]
    (kept,) = cache.iterdir()
    made = kept.stat().st_mtime_ns
    assert len(species10(path, chunk=2)) == 2
    assert kept.stat().st_mtime_ns == made
    path.write_text(">a\nACGTA")
    assert sequences(species10(path, chunk=5)) == [("ACGTA", "a")]
    assert len(list(cache.iterdir())) == 2


def test_without_a_cache_the_chunks_are_the_same(tmp_path, cache, caplog):
    cache.write_text("a file where the folder should be")
    (tmp_path / "a.fa").write_text(">a\nACGT")
    assert sequences(species10(tmp_path / "a.fa", chunk=2)) == [("AC", "a"), ("GT", "a")]
    assert "is not kept" in caplog.text


def test_errors_name_the_problem(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nACGT")
    with pytest.raises(ValueError, match=r"at least 5 letters \(`chunk`\), at most 50% of them N .*a\.fa, got none"):
        species10(tmp_path / "a.fa", chunk=5)
    (tmp_path / "a.csv").write_text("sequence,kind\nA,b\n")
    with pytest.raises(ValueError, match=r"Expected a column 'species' in .*a\.csv"):
        species10(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("sequence,species_label\nACGT,10\n")
    with pytest.raises(ValueError, match=r"Expected `species_label` from 0 to 9 in .*a\.csv, got 10"):
        species10(tmp_path / "a.csv", chunk=2)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        species10(tmp_path / "none")
    with pytest.raises(ValueError, match="Expected `chunk` >= 1, got 0"):
        species10(tmp_path / "a.fa", chunk=0)
    with pytest.raises(ValueError, match="Expected 0 <= `max_unknown` <= 1, got 2"):
        species10(tmp_path / "a.fa", max_unknown=2)


def test_the_hub(monkeypatch):
    rows = datasets.Dataset.from_dict({"sequence": ["ACGTAC"], "species_label": [9]})
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, split: {("yairschiff/ten_species", "train"): rows}[name, split]
    )
    assert sequences(species10(chunk=3)) == [("ACG", SPECIES[9]), ("TAC", SPECIES[9])]

    def offline(name, split):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        ConnectionError, match=r"^`yairschiff/ten_species` cannot .* \(no route\): pass [^\n]* as `path`\.$"
    ):
        species10()


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_distribution_of_kmers_is_that_of_all_sequences(order):
    source = SyntheticSpecies.drawn(2, order, 0.5, seed=3)
    every = ["".join(letters) for letters in itertools.product("ACGT", repeat=4)]
    probabilities = np.exp(source.log_likelihoods(every))
    assert probabilities.sum(0) == pytest.approx([1.0, 1.0])
    for s in range(2):
        assert source.kmer_distribution(s, 4) == pytest.approx(probabilities[:, s], abs=1e-15)
        # At each place of a stationary chain the k-mers have one source.
        whole = source.kmer_distribution(s, 4).reshape(4, 4, 4, 4)
        for axes in ((2, 3), (0, 3), (0, 1)):
            assert whole.sum(axes).ravel() == pytest.approx(source.kmer_distribution(s, 2), abs=1e-14)


def test_both_strands_are_alike():
    source = SyntheticSpecies.drawn(3, 2, 0.5, seed=0)
    some = source.sample(12, 20, seed=1)[0]
    assert source.log_likelihoods([reverse_complement(one) for one in some]) == pytest.approx(
        source.log_likelihoods(some)
    )


def test_likelihood_by_hand():
    transition = np.array([[[0.7, 0.1, 0.1, 0.1], *[[0.25] * 4] * 3], [[0.25] * 4] * 4])
    source = SyntheticSpecies(transition)
    # π_A = 0.7 π_A + 0.25 (1 - π_A) = 5/11; the others share the rest.
    assert source.kmer_distribution(0, 1) == pytest.approx([5 / 11, 2 / 11, 2 / 11, 2 / 11])
    assert source.log_likelihood("AAC", 0) == pytest.approx(math.log(5 / 11 * 0.7 * 0.1))
    assert source.log_likelihood("AAC", 1) == pytest.approx(-3 * math.log(4))
    assert source.posterior(["AAC"])[0, 0] == pytest.approx(5 / 11 * 0.07 / (5 / 11 * 0.07 + 4**-3))
    with pytest.raises(ValueError, match="Expected the letters A, C, G and T, got 'N'"):
        source.log_likelihood("ANC", 0)
    assert source.log_likelihood("", 0) == 0


def test_samples_have_the_stated_distribution():
    source = SyntheticSpecies.drawn(2, 2, 0.5, seed=0)
    drawn, species = source.sample(20_000, 4, seed=5)
    every = {"".join(letters): i for i, letters in enumerate(itertools.product("ACGT", repeat=4))}
    for s in range(2):
        counts = np.bincount(
            [every[one] for one, which in zip(drawn, species, strict=True) if which == s], minlength=256
        )
        expected = 10_000 * source.kmer_distribution(s, 4)
        # Pearson's statistic has 255 degrees of freedom: mean 255, standard deviation 23.
        assert ((counts - expected) ** 2 / expected).sum() < 255 + 4 * 23


def test_species_overlap_but_can_be_distinguished():
    source = SyntheticSpecies.drawn(10, 2, 0.28, seed=0)
    rows = synthetic_species(2000)
    assert source.names == tuple(f"species_{i}" for i in range(10))
    assert sorted(set(rows["species"][:])) == list(source.names)
    predicted = source.posterior(rows["sequence"][:]).argmax(1)
    assert np.mean(
        [source.names[s] == name for s, name in zip(predicted, rows["species"][:], strict=True)]
    ) == pytest.approx(0.917, abs=0.02)


def test_synthetic_species_depend_on_the_seed_alone():
    rows = synthetic_species(40, 16, 4, seed=1)
    assert sequences(rows) == sequences(synthetic_species(80, 16, 4, seed=1))[:40]
    assert sequences(rows) != sequences(synthetic_species(40, 16, 4, seed=2))
    assert {len(s) for s in rows["sequence"][:]} == {16}
    assert {len(s) for s in synthetic_species(4, 1, 2)["sequence"][:]} == {1}


@pytest.mark.parametrize("name", ["size", "length", "species", "order", "divergence"])
def test_wrong_numbers(name):
    with pytest.raises(ValueError, match=f"Expected `{name}` >= "):
        synthetic_species(**{"size": 10, name: -1})
    with pytest.raises(ValueError, match="Expected `order` <= 6, got 7"):
        synthetic_species(10, order=7)
    with pytest.raises(ValueError, match="of the shape"):
        SyntheticSpecies(np.full((2, 3, 4), 0.25))
    with pytest.raises(ValueError, match="sum to 1"):
        SyntheticSpecies(np.full((2, 4, 4), 0.3))
