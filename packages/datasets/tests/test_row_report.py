"""Counts of dropped and changed rows."""

import pytest
import torch
from datasets import Dataset, DatasetDict

from discrete_diffusion.datasets import (
    CategoryLabel,
    Padded,
    PercentileLabel,
    RowChange,
    RowReport,
    TooManyClassesError,
    TooManyRowsDroppedError,
    Wrapped,
    character_tokenizer,
    decode,
    dna_tokenizer,
    encoding,
    protein_tokenizer,
    sequence_data,
    smiles_tokenizer,
    smiles_tokenizer_from_vocab,
    table,
    text8_tokenizer,
    word_tokenizer,
)

WORDS = word_tokenizer(["the cat sat.", "a"])
GOOD = ["C" * (i + 1) for i in range(20)]


def build(strings, **options):
    columns = {"text": strings, **options.pop("columns", {})}
    options = {"tokenizer": character_tokenizer, "max_dropped": 1.0, **options}
    return sequence_data(Dataset.from_dict(columns), "text", **options)


def test_clean_rows_have_an_empty_report():
    assert build(GOOD).report == RowReport(20)
    assert build(GOOD).report.describe() == ""


def test_rows_without_a_string_are_dropped_and_those_without_a_label_are_kept():
    kinds = ["a", *["a", "b"] * 9, None, None]
    data = build([None, *GOOD], columns={"kind": kinds}, label=CategoryLabel("kind"), max_dropped=0.05)
    assert data.report == RowReport(
        21,
        (
            RowChange("dropped", "no value in the column 'text'", 1, (1,)),
            RowChange("unconditional", "no label in 'kind'", 2, (20, 21)),
        ),
    )
    assert len(data.train) + len(data.validation) == 20
    assert sorted([*data.train["label"][:].tolist(), *data.validation["label"][:].tolist()])[-3:] == [1, 2, 2]
    assert data.report.describe().splitlines() == [
        "1 of 21 rows (4.8%) dropped: no value in the column 'text' (row 1)",
        "2 of 21 rows (9.5%) unconditional: no label in 'kind' (rows 20, 21)",
    ]
    gap = build(GOOD, columns={"x": [float("nan"), *range(19)]}, label=PercentileLabel("x", 50))
    assert gap.report.changes == (RowChange("unconditional", "no label in 'x'", 1, (1,)),)


def test_an_empty_cell_is_no_label(tmp_path):
    (tmp_path / "gap.csv").write_text("seq,kind\nA,1\nB,\nC,2\nD,1\n")
    data = sequence_data(table(tmp_path / "gap.csv"), tokenizer=character_tokenizer, label=CategoryLabel("kind"))
    assert data.report.changes == (RowChange("unconditional", "no label in 'kind'", 1, (2,)),)


def test_a_classifier_has_only_labeled_rows():
    data = build(GOOD, columns={"kind": [*["a", "b"] * 7, *[None] * 6]}, label=CategoryLabel("kind"), validation=0.3)
    known = data.labeled()
    assert len(known.train) + len(known.validation) == 14
    assert set(known.train["label"][:].tolist()) == {0, 1}
    assert known.labels.tolist() == data.labels.tolist() == known.train["label"][:].tolist()
    assert known.report.describe() == "6 of 20 rows (30%) dropped: no label in 'kind' (rows 15, 16, 17, 18, 19, ...)"
    plain = build(GOOD)
    assert plain.labeled() is plain
    fitted = data.label
    with pytest.raises(ValueError, match=r"Expected a label in 'kind' in at least one row"):
        build(GOOD, columns={"kind": [""] * 20}, label=fitted)
    with pytest.raises(ValueError, match=r"Expected validation rows with a label in 'kind', got none"):
        build(GOOD, columns={"kind": ["a", *[None] * 19]}, label=fitted).labeled()


def test_unreadable_smiles_are_dropped_and_numbered():
    data = build([*GOOD, "C C", "CC", None, "C!"], tokenizer=smiles_tokenizer)
    assert data.report.changes == (
        RowChange("dropped", "no value in the column 'text'", 1, (23,)),
        RowChange("dropped", "not SMILES ('C C')", 2, (21, 24)),
        RowChange("kept", "repeats the string of an earlier row", 1, (22,)),
    )
    with pytest.raises(ValueError, match="Expected SMILES, got 'C C'"):
        build(["C C", "C!"], tokenizer=smiles_tokenizer)


def test_rows_that_a_source_marks_are_dropped():
    data = build(GOOD, columns={"drop_reason": [None, "broken", *[None] * 17, "blank"]})
    assert [(change.reason, change.rows) for change in data.report.changes] == [("broken", (2,)), ("blank", (20,))]
    assert "drop_reason" not in data.train.column_names


def test_unknown_symbols_are_dropped_or_altered():
    strings = [*["abc"] * 8, "a!c", "É"]
    dropped = build(strings, tokenizer=text8_tokenizer()).report.changes
    assert dropped[0] == RowChange("dropped", "symbols that the tokenizer does not know ('!', 'É')", 2, (9, 10))
    altered = build(strings, tokenizer=text8_tokenizer(), allow_unknown=True).report.changes
    assert altered[0].action == "altered"
    assert altered[0].rows == (9, 10)


@pytest.mark.parametrize("kept_in_cache", [False, True])
def test_long_rows_are_counted(kept_in_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))
    if kept_in_cache:
        monkeypatch.setattr(encoding, "WORTH_KEEPING", 0)
    for _ in range(2):
        dropped = build(GOOD, length=16, layout=Padded(longer="drop")).report
        assert dropped.changes == (RowChange("dropped", "longer than 16 tokens", 6, (15, 16, 17, 18, 19)),)
        cut = build(GOOD, length=16, layout=Padded(longer="truncate")).report
        assert cut.changes == (RowChange("cut", "longer than 16 tokens", 6, (15, 16, 17, 18, 19)),)
        assert cut.dropped == 0


@pytest.mark.parametrize(
    ("tokenizer", "string", "kind", "example"),
    [
        (dna_tokenizer(), "ACgt", "letter case", "'ACgt' becomes 'ACGT'"),
        (protein_tokenizer(), "MKv", "letter case", "'MKv' becomes 'MKV'"),
        (text8_tokenizer(), "The", "letter case", "'The' becomes 'the'"),
        (WORDS, "the  cat", "spaces", "'the  cat' becomes 'the cat'"),
        (WORDS, "A  cat", "letter case and spaces", "'A  cat' becomes 'a cat'"),
        (WORDS, "the cat[SEP]sat", "characters", "'the cat[SEP]sat' becomes 'the cat'"),
        (WORDS, "the cat sat. " * 3 + "á", "characters", "'... cat sat. á' becomes '... cat sat. a'"),
    ],
)
def test_strings_that_decode_to_others_are_counted_with_an_example(tokenizer, string, kind, example):
    (unchanged,) = decode(tokenizer, torch.tensor(tokenizer([string])["input_ids"]))
    data = build([unchanged, unchanged, unchanged, string, string], tokenizer=tokenizer, validation=0.4)
    assert data.report.changes[0] == RowChange("altered", f"the tokenizer changes {kind}", 2, (4, 5), example)
    assert f"(rows 4, 5): {example}" in data.report.describe()
    assert len(data.train) + len(data.validation) == 5


@pytest.mark.parametrize("kept_in_cache", [False, True])
def test_dropped_cut_and_unknown_strings_are_not_counted_as_altered_too(kept_in_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))
    if kept_in_cache:
        monkeypatch.setattr(encoding, "WORTH_KEEPING", 0)
    strings = ["acgtacgt", "ACGT", "ac!", "ACGA", "acca", "ACCC"]
    for _ in range(2):
        for longer in ("drop", "truncate"):
            options = {"tokenizer": dna_tokenizer(), "length": 6, "layout": Padded(longer=longer), "validation": 0.5}
            altered = [one for one in build(strings, **options).report.changes if one.action == "altered"]
            assert altered == [
                RowChange("altered", "the tokenizer changes letter case", 1, (5,), "'acca' becomes 'ACCA'")
            ]


def test_examples_of_training_and_validation_rows_are_joined():
    parts = DatasetDict({split: Dataset.from_dict({"text": ["ACGT", "acgt"]}) for split in ("train", "validation")})
    (change,) = sequence_data(parts, "text", tokenizer=dna_tokenizer(), length=6).report.changes[:1]
    assert change == RowChange("altered", "the tokenizer changes letter case", 2, (2, 4), "'acgt' becomes 'ACGT'")


def test_the_end_of_wrapped_text_is_counted():
    (change,) = build(["ab", "cd", "ef"], length=6, layout=Wrapped(), validation=0.5).report.changes
    assert change == RowChange("cut", "the end of the text does not fill a block of 6 tokens", 1, (3,))


def test_blank_and_repeated_rows_are_kept_and_counted():
    assert build([*GOOD, " ", "", "C"]).report.changes == (
        RowChange("kept", "blank", 2, (21, 22)),
        RowChange("kept", "repeats the string of an earlier row", 1, (23,)),
    )


def test_validation_rows_are_numbered_after_training_rows():
    parts = DatasetDict(
        train=Dataset.from_dict({"text": [None, *GOOD]}), validation=Dataset.from_dict({"text": [*GOOD[:3], "C" * 30]})
    )
    options = {"tokenizer": character_tokenizer, "length": 22, "layout": Padded(longer="drop")}
    report = sequence_data(parts, "text", **options).report
    assert report.changes[:2] == (
        RowChange("dropped", "no value in the column 'text'", 1, (1,)),
        RowChange("dropped", "longer than 22 tokens", 1, (25,)),
    )


def test_too_many_dropped_rows_are_refused(tmp_path):
    strings = [*GOOD[:17], None, None, None]
    with pytest.raises(TooManyRowsDroppedError, match=r"at most 10% .* got 15%\. 3 of 20 .* \(rows 18, 19, 20\)\."):
        build(strings, max_dropped=0.1)
    assert len(build(strings, max_dropped=0.15).train) == 16
    with pytest.raises(ValueError, match="Expected 0 <= `max_dropped` <= 1, got 2"):
        build(GOOD, max_dropped=2)
    (tmp_path / "vocab.json").write_text('{"N": 0}')
    with pytest.raises(TooManyRowsDroppedError, match="20 of 20"):
        build(GOOD, tokenizer=smiles_tokenizer_from_vocab(tmp_path / "vocab.json"))


def test_a_class_for_each_row_is_refused():
    rows = Dataset.from_dict({"id": [f"molecule {i}" for i in range(50)], "many": [i // 2 for i in range(50)]})
    with pytest.raises(TooManyClassesError, match=r"got 50 distinct values in 50 rows, such as 'molecule 0': group"):
        CategoryLabel("id").fit(rows)
    assert CategoryLabel("many").fit(rows).num_classes == 25
    with pytest.raises(TooManyClassesError, match="at most 20 of them"):
        CategoryLabel("many", max_classes=20).fit(rows)
