"""Broken and hostile files: a table, or one error that the user can fix."""

import gzip
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discrete_diffusion.datasets import (
    PercentileLabel,
    ValueLabel,
    character_tokenizer,
    read_table,
    sequence_data,
)
from discrete_diffusion.datasets.layouts import LONGEST

ROWS = "smiles,c\nC,1\nCC,2\nCCC,3\n"
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".smi", ".fasta", ".csv.gz", ".parquet", ".xlsx", ".zip")
PIECES = [
    "smiles",
    "C",
    "c1ccccc1",
    ",",
    ";",
    "\t",
    '"',
    "\n",
    "\r",
    "\r\n",
    "\0",
    ">",
    "#",
    " ",
    "é",
    "{",
    "}",
    "[",
    "]",
]
PIECES += [":", '{"smiles": "C"}\n', '{"smiles": [1]}\n', "NaN", "1e999", "9" * 30, "-", "2020-01-01", "true", "null"]
CONTENTS = (
    st.binary(max_size=60)
    | st.lists(st.sampled_from(PIECES), max_size=40).map(lambda pieces: "".join(pieces).encode())
    | st.lists(st.sampled_from(PIECES), max_size=20).map(lambda pieces: (ROWS + "".join(pieces)).encode())
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nul.csv", ROWS.encode() + b"C\0O,4\n", "NUL characters"),
        ("nul.fasta", b">a\nAC\0GT\n", "NUL characters"),
        ("marked.csv", (ROWS + "\0").encode("utf-16"), "NUL characters"),
        ("unmarked.csv", ROWS.encode("utf-16-le"), "NUL characters"),
        ("wide.csv", ROWS.encode("utf-32"), "NUL characters"),
        (
            "twice.csv.gz",
            gzip.compress(gzip.compress(ROWS.encode(), mtime=0), mtime=0),
            "NUL characters|cannot be read|Expected a column",
        ),
        ("repeated.csv", b"smiles,c,c\nC,1,2\n", "Expected one column 'c' in .*, but there are 2"),
        ("long_names.csv", ("a" * 500 + ",b\n1,2\n").encode(), "its columns are 'a{39}, 'b'"),
        ("many_columns.csv", (",".join(f"c{i}" for i in range(100)) + "\n").encode(), r"'c19', \.\.\.\."),
    ],
)
def test_what_cannot_be_a_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(tmp_path / name)
    assert len(str(caught.value)) < 1000


def test_lines_that_end_as_on_old_computers(tmp_path: Path):
    (tmp_path / "old.csv").write_text(ROWS.replace("\n", "\r"), newline="")
    assert read_table(tmp_path / "old.csv").to_dict() == {"smiles": ["C", "CC", "CCC"], "c": [1, 2, 3]}


def test_columns_without_a_name_beside_a_table_are_left_out(tmp_path: Path):
    (tmp_path / "sheet.csv").write_text("smiles,c,,\nC,1,,\nCC,2,,\n")
    assert read_table(tmp_path / "sheet.csv").column_names == ["smiles", "c"]


@pytest.mark.parametrize(("path", "message"), [("folder.csv", "is a folder"), ("/dev/null", "is no file")])
def test_what_is_no_file_is_named(tmp_path: Path, path: str, message: str):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileNotFoundError, match=message):
        read_table(tmp_path / path)


def test_no_files():
    with pytest.raises(ValueError, match="got none"):
        read_table([])


@pytest.mark.parametrize("rule", [PercentileLabel("q"), ValueLabel("q")])
@pytest.mark.parametrize(
    ("value", "message"), [("2020-01-01", "Expected numbers in"), ("1e308", "Expected numbers from")]
)
def test_labels_that_are_no_reasonable_numbers(tmp_path: Path, rule: Any, value: str, message: str):
    (tmp_path / "rows.csv").write_text(f"smiles,q\nC,{value}\nCC,{value}\n")
    with pytest.raises(ValueError, match=message):
        rule.fit(read_table(tmp_path / "rows.csv"))


def test_sequences_that_no_checkpoint_can_have():
    rows = datasets.Dataset.from_dict({"text": ["a", "a" * (LONGEST + 1)]})
    with pytest.raises(ValueError, match=r"at most 1,048,576 tokens, got one of 1,048,579"):
        sequence_data(rows, tokenizer=character_tokenizer)


def test_a_function_that_builds_no_tokenizer():
    rows = datasets.Dataset.from_dict({"text": ["a", "b"]})
    with pytest.raises(ValueError, match="Expected `tokenizer` to build a tokenizer, got None"):
        sequence_data(rows, tokenizer=lambda strings: None)  # type: ignore[arg-type, return-value]


def _read(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    try:
        table = read_table(path)
    except (ValueError, FileNotFoundError) as error:
        assert str(error)  # noqa: PT017, many files are broken and some are not
        assert "\n" not in str(error)  # noqa: PT017
        return
    for rule in (PercentileLabel("c"), ValueLabel("c")):
        try:
            rule.fit(table)
        except ValueError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_bytes_are_a_table_or_an_error_of_the_user(tmp_path: Path, ending: str):
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(CONTENTS)
    def read(content: bytes) -> None:
        _read(tmp_path / f"rows{ending}", content)

    read()
