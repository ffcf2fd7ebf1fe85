"""File formats, each read as the same token sequences."""

import gzip
import io
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from discrete_diffusion.datasets import (
    CategoryLabel,
    PercentileLabel,
    character_tokenizer,
    decode,
    locate_files,
    read_table,
    sequence_data,
    smiles_tokenizer,
)

SMILES = ["CCO", "C1CC1", "C#N", "CN(C)C", "c1ccccc1", "O=C=O"]
NAMES = ["ethanol", "ring", "hydrogen cyanide", "amine", "benzene", "gas"]


def delimited(delimiter, smiles="smiles"):
    rows = [f"{one}{delimiter}{name}{delimiter}{i}" for i, (one, name) in enumerate(zip(SMILES, NAMES, strict=True))]
    return "\n".join([delimiter.join([smiles, "name", "number"]), *rows]) + "\n"


def objects():
    return [{"SMILES": one, "name": name, "number": i} for i, (one, name) in enumerate(zip(SMILES, NAMES, strict=True))]


CONTENTS = {
    "comma.csv": delimited(","),
    "semicolon.csv": delimited(";", "Smiles"),
    "tab.csv": delimited("\t"),
    "tab.tsv": delimited("\t", "SMILES"),
    "windows.csv": "\ufeff" + delimited(";").replace("\n", "\r\n"),
    "list.json": json.dumps(objects()),
    "lines.jsonl": "".join(json.dumps(one) + "\n" for one in objects()),
    "plain.txt": "\n".join(SMILES),
    "blank.smi": "# made by hand\n" + "".join(f"{one} {name}\n" for one, name in zip(SMILES, NAMES, strict=True)),
    "header.smi": "smiles\tname\n" + "".join(f"{one}\t{name}\n" for one, name in zip(SMILES, NAMES, strict=True)),
    "records.fasta": "".join(f">{name}\n{one[:2]}\n{one[2:]}\n" for one, name in zip(SMILES, NAMES, strict=True)),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_text_formats(tmp_path, name, zipped):
    path = tmp_path / (name + ".gz" * zipped)
    content = CONTENTS[name].encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    check(path, names=name != "plain.txt")


def test_parquet(tmp_path):
    pa.parquet.write_table(pa.Table.from_pylist(objects()), tmp_path / "rows.parquet")
    check(tmp_path / "rows.parquet")


def test_excel(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["SMILES", "name", "number"], *[list(one.values()) for one in objects()]):
        book.active.append(row)
    book.save(tmp_path / "rows.xlsx")
    check(tmp_path / "rows.xlsx")
    assert read_table(tmp_path / "rows.xlsx")["number"][:] == list(range(6))


def test_excel_without_openpyxl(tmp_path, monkeypatch):
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"^Excel files need openpyxl: install `.*\[excel\]`\.$"):
        read_table(tmp_path / "rows.xlsx")


def test_sdf(tmp_path):
    chem = pytest.importorskip("rdkit.Chem")
    with chem.SDWriter(str(tmp_path / "rows.sdf")) as writer:
        for i, (one, name) in enumerate(zip(SMILES, NAMES, strict=True)):
            molecule = chem.MolFromSmiles(one)
            molecule.SetProp("_Name", name)
            molecule.SetDoubleProp("logp", i / 2)
            writer.write(molecule)
    check(tmp_path / "rows.sdf")
    rows = read_table(tmp_path / "rows.sdf")
    assert rows["logp"][:] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert sequence_data(rows, tokenizer=smiles_tokenizer, label=PercentileLabel("logp", 50)).label.num_classes == 2
    text = (tmp_path / "rows.sdf").read_text()
    (tmp_path / "broken.sdf").write_text(text.replace(" C ", " Zz ", 1))
    assert read_table(tmp_path / "broken.sdf")["drop_reason"][:] == ["RDKit cannot read the molecule", *[None] * 5]


def check(path, names=True):
    rows = read_table(path)
    data = sequence_data(rows, tokenizer=smiles_tokenizer, validation=0.4)
    assert data.column.lower() in ("smiles", "sequence")
    found = [decode(data.tokenizer, part["input_ids"][:]) for part in (data.train, data.validation)]
    assert sorted(found[0] + found[1]) == sorted(SMILES)
    assert rows[data.column][:] == SMILES
    assert data.report.changes == ()
    if names:
        assert [one.split()[0] for one in rows["name"][:]] == [one.split()[0] for one in NAMES]


def test_proteins_of_mixed_lengths(tmp_path):
    (tmp_path / "a.faa").write_text(">sp|P1|A first one\nMKV\nLAAGI*\n\n>b\nMW\n>c\n\n>d\nmkxbz\n")
    rows = read_table(tmp_path / "a.faa")
    assert rows["sequence"][:] == ["MKVLAAGI*", "MW", "", "mkxbz"]
    assert (rows["name"][0], rows["description"][0]) == ("sp|P1|A", "first one")
    data = sequence_data(rows, tokenizer=character_tokenizer, max_dropped=0.5)
    assert data.length == 11
    assert [(change.reason, change.rows) for change in data.report.changes] == [
        ("no string in the column 'sequence'", (3,))
    ]


def test_several_files_and_patterns(tmp_path):
    (tmp_path / "a-1.csv").write_text("smiles,x\nC,1\nCC,2\n")
    (tmp_path / "a-2.csv").write_text("smiles;x\nCCC;3.5\n")
    (tmp_path / "b.smi").write_text("N ammonia\n")
    assert read_table(tmp_path / "a-*.csv")["smiles"][:] == ["C", "CC", "CCC"]
    rows = read_table([tmp_path / "b.smi", str(tmp_path / "a-?.csv")])
    assert rows["smiles"][:] == ["N", "C", "CC", "CCC"]
    assert rows["x"][:] == [None, 1, 2, 3.5]
    with pytest.raises(FileNotFoundError, match=r"c-\*\.csv does not exist"):
        read_table(tmp_path / "c-*.csv")


@pytest.mark.parametrize("name", ["comma.csv", "tab.tsv", "lines.jsonl", "list.json", "plain.txt", "records.fasta"])
def test_standard_input(monkeypatch, name):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENTS[name].encode())))
    check("-", names=name != "plain.txt")


def test_other_encodings(tmp_path, caplog):
    (tmp_path / "rows.csv").write_bytes("text,kind\nCafé,à\n".encode("latin-1"))
    assert read_table(tmp_path / "rows.csv")[0] == {"text": "Café", "kind": "à"}
    assert "rows.csv is not UTF-8: it is read as Latin-1." in caplog.text
    (tmp_path / "rows.csv").write_bytes("text\nCafé\n".encode("utf-16"))
    assert read_table(tmp_path / "rows.csv")["text"][:] == ["Café"]


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("Name,Canonical_SMILES,Seq,kind\na,CC,MK,x\nb,0101,NA,y\n")
    assert sequence_data(read_table(path), tokenizer=character_tokenizer, validation=0.5).column == "Canonical_SMILES"
    assert read_table(path)["Canonical_SMILES"][:] == ["CC", "0101"]
    rows = read_table(path, "seq")
    assert rows["Seq"][:] == ["MK", "NA"]
    data = sequence_data(rows, "SEQ", tokenizer=character_tokenizer, label=CategoryLabel("kind"), validation=0.5)
    assert data.column == "Seq"
    path.write_text("peptide\nMK\n")
    assert read_table(path)["peptide"][:] == ["MK"]
    path.write_text("one,two\na,b\n")
    with pytest.raises(ValueError, match=r"Expected a column 'canonical_smiles' or .* its columns are 'one', 'two'"):
        read_table(path)


def test_padded_and_blank_strings_are_named(tmp_path, caplog):
    (tmp_path / "rows.csv").write_text('text,x\n" ab",1\nab,2\n"ab ",3\n"  ",4\n,5\nb,6\n')
    rows = read_table(tmp_path / "rows.csv")
    assert rows["text"][:] == ["ab", "ab", "ab", "", "", "b"]
    assert "2 of 6 rows (33%) altered: spaces around the string in 'text' are removed (rows 1, 3)." in caplog.text
    report = sequence_data(rows, tokenizer=character_tokenizer, max_dropped=0.5).report
    assert (report.dropped, report.changes[0].rows) == (2, (4, 5))
    (tmp_path / "rows.txt").write_text("ab\n\nb\n")
    assert read_table(tmp_path / "rows.txt")["drop_reason"][:] == [None, "no string in the column 'sequence'", None]
    (tmp_path / "one.csv").write_text("text\nab\n\nb\n\n\n")
    assert read_table(tmp_path / "one.csv")["text"][:] == ["ab", "", "b"]


def test_broken_rows_are_named(tmp_path):
    (tmp_path / "rows.csv").write_text("text,x\na,1\nHello, world,2\nb,3\n")
    message = r"rows\.csv cannot be read: expected 2 values in every row, but 1 rows have another number, such as row 2"
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "rows.csv")
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_table(tmp_path / "rows.jsonl")
    (tmp_path / "rows.fa").write_text("MK\n>a\nMK\n")
    with pytest.raises(ValueError, match="begins with `>` in line 1"):
        read_table(tmp_path / "rows.fa")


def test_numbers_and_strings_may_mix(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": 12, "x": 1}\n{"text": "b", "x": "two"}\n')
    assert read_table(tmp_path / "rows.jsonl")[:] == {"text": ["12", "b"], "x": ["1", "two"]}


def one_hot(strings):
    codes = np.zeros((len(strings), len(strings[0]), 4), dtype=np.uint8)
    for row, string in enumerate(strings):
        for place, letter in enumerate(string):
            if letter != "N":
                codes[row, place, "ACGT".index(letter)] = 1
    return codes


@pytest.mark.parametrize("last", [True, False])
def test_hdf5_with_splits(tmp_path, last):
    h5py = pytest.importorskip("h5py")
    training, test = ["ACGTN", "TTTTT", "NNCCA"], ["GGGGG", "CATCA", "ACACA"]
    with h5py.File(tmp_path / "assay.h5", "w") as file:
        for name, strings in (("train", training), ("test", test)):
            file[f"X_{name}"] = one_hot(strings) if last else one_hot(strings).transpose(0, 2, 1)
            file[f"Y_{name}"] = np.arange(6.0).reshape(3, 2) + len(name)
            file[f"name_{name}"] = [f"{name} {i}" for i in range(3)]
        file["other"] = np.arange(7)
    rows = read_table(tmp_path / "assay.h5" / "X_train")
    assert rows["sequence"][:] == training
    assert (rows["Y_1"][:], rows["Y_2"][:]) == ([5.0, 7.0, 9.0], [6.0, 8.0, 10.0])
    assert rows["name"][:] == ["train 0", "train 1", "train 2"]
    assert rows.column_names == ["sequence", "Y_1", "Y_2", "name"]
    assert read_table(tmp_path / "assay.h5" / "X_test")["sequence"][:] == test
    for path in (tmp_path / "assay.h5", tmp_path / "assay.h5" / "Z"):
        with pytest.raises(ValueError, match=r"got X_test, X_train: name one as assay\.h5/X_test$"):
            read_table(path)


def test_hdf5_with_one_array(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "dna.hdf5", "w") as file:
        file["group/codes"] = one_hot(["ACG", "TTT"]).astype(np.float32)
        file["group/activity"] = [0.5, 1.5]
    rows = read_table(tmp_path / "dna.hdf5")
    assert (rows["sequence"][:], rows["group_activity"][:]) == (["ACG", "TTT"], [0.5, 1.5])


def test_hdf5_without_dna_and_broken_files_are_refused(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "no.h5", "w") as file:
        file["a"] = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"no\.h5 cannot be read: expected one array of one-hot DNA, .* got none$"):
        read_table(tmp_path / "no.h5")
    (tmp_path / "torn.h5").write_bytes((tmp_path / "no.h5").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"torn\.h5 cannot be read: "):
        read_table(tmp_path / "torn.h5")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"^HDF5 files need h5py: install `.*\[hdf5\]`\.$"):
        read_table(tmp_path / "no.h5")


def test_a_relative_path_is_found_below_the_first_folder_that_has_its_files(tmp_path, monkeypatch):
    near, far = tmp_path / "project" / "outputs", tmp_path / "project"
    near.mkdir(parents=True)
    folders = [near, far, tmp_path]
    (far / "a.csv").touch()
    (far / "part-1.csv").touch()
    assert locate_files("a.csv", folders) == str(far / "a.csv")
    assert locate_files("part-*.csv", folders) == str(far / "part-*.csv")
    assert locate_files(["a.csv", "part-*.csv"], folders) == [str(far / "a.csv"), str(far / "part-*.csv")]
    (near / "a.csv").touch()
    assert locate_files("a.csv", folders) == str(near / "a.csv")
    assert locate_files(["a.csv", "part-1.csv"], folders) == [str(far / "a.csv"), str(far / "part-1.csv")]
    monkeypatch.chdir(far)
    (far / "-").touch()
    for other in ("gone.csv", ["a.csv", "gone.csv"], "-", str(far / "a.csv")):
        assert locate_files(other, folders) == other
