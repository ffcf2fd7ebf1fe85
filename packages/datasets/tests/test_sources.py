import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from discrete_diffusion.datasets import (
    qm9,
    table,
)

ROWS = [{"seq": "0101", "kind": "x", "score": 0.5}, {"seq": "NA", "kind": "y", "score": 2.0}]


def write(path, rows=ROWS):
    delimiter = "\t" if ".tsv" in path.name else ","
    text = {
        "csv": delimiter.join(rows[0]) + "\n" + "".join(delimiter.join(map(str, r.values())) + "\n" for r in rows),
        "json": json.dumps(rows),
        "jsonl": "".join(json.dumps(row) + "\n" for row in rows),
    }
    kind = path.name.split(".")[1].replace("tsv", "csv")
    if kind == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text[kind].encode()))
    else:
        path.write_text(text[kind])
    return path


@pytest.mark.parametrize("name", ["csv", "csv.gz", "tsv", "tsv.gz", "json", "json.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, name):
    rows = table(write(tmp_path / f"data.{name}"), "seq", "kind")
    assert [rows[i] for i in range(len(rows))] == ROWS


def test_numbers_are_read_as_strings_where_they_are_sequences(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"seq": 12}\n{"seq": "a"}\n')
    assert table(path, "seq")["seq"][:] == ["12", "a"]
    pa.parquet.write_table(pa.table({"seq": [3, 4]}), tmp_path / "data.parquet")
    assert table(tmp_path / "data.parquet", "seq")["seq"][:] == ["3", "4"]


def test_errors_name_the_problem(tmp_path):
    path = write(tmp_path / "data.csv")
    with pytest.raises(ValueError, match=r"Expected a column 'smiles' in .*; its columns are 'seq', 'kind', 'score'"):
        table(path, "smiles")
    with pytest.raises(ValueError, match="Expected a column 'label'"):
        table(path, "seq", "label")
    with pytest.raises(FileNotFoundError, match="Expected a CSV, TSV, JSON"):
        table(tmp_path / "none.csv", "seq")
    with pytest.raises(ValueError, match=r"Expected a CSV, TSV.*, got data\.ods"):
        table(path.rename(tmp_path / "data.ods"), "seq")
    for name in ("bad.parquet", "bad.json", "bad.csv.gz"):
        (tmp_path / name).write_text("nonsense")
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            table(tmp_path / name, "seq")
    (tmp_path / "empty.csv").write_text("seq,kind\n")
    with pytest.raises(ValueError, match="Expected rows"):
        table(tmp_path / "empty.csv", "seq")


def test_qm9_from_a_file(tmp_path):
    rows = [
        {"canonical_smiles": "C", "qed": 0.25, "ring_count": 0},
        {"canonical_smiles": "N", "qed": 0.5, "ring_count": 0},
    ]
    for name in ("qm9.csv.gz", "qm9.json", "qm9.parquet"):
        loaded = qm9(write(tmp_path / name, rows))
        assert [loaded[i] for i in range(2)] == rows
    with pytest.raises(ValueError, match="Expected a column 'canonical_smiles'"):
        qm9(write(tmp_path / "other.csv"))


def test_qm9_computes_what_is_missing(tmp_path):
    chem = pytest.importorskip("rdkit.Chem")
    qed = pytest.importorskip("rdkit.Chem.QED")
    rows = qm9(write(tmp_path / "qm9.csv", [{"canonical_smiles": "CCO"}, {"canonical_smiles": "C1CC2CC12"}]))
    assert rows["ring_count"][:] == [0, 2]
    assert rows["qed"][:] == pytest.approx([qed.qed(chem.MolFromSmiles(s)) for s in ("CCO", "C1CC2CC12")])
    with pytest.raises(ValueError, match=r"Expected valid SMILES in .*bad\.csv, got 'C1C'"):
        qm9(write(tmp_path / "bad.csv", [{"canonical_smiles": "C1C"}]))


def test_qm9_from_the_hub(monkeypatch):
    rows = datasets.Dataset.from_dict({"canonical_smiles": ["C"], "qed": [0.3], "ring_count": [0]})
    requests = []

    def load(name, split):
        requests.append((name, split))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert qm9()[0] == rows[0]
    assert requests == [("yairschiff/qm9", "train")]

    def offline(name, split):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ConnectionError, match=r"^`yairschiff/qm9` cannot .* \(no route\): .* as `path`\.$"):
        qm9()
