"""Molecules inside archives, as their authors publish them."""

import gzip
import io
import tarfile
import zipfile

import pytest

from discrete_diffusion.datasets import moses, qm9, read_table, zinc250k

chem = pytest.importorskip("rdkit.Chem")

METHANE = "\n".join(
    [
        "2",
        "gdb 1\t157.7\t157.6\t157.5\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t-40.476062"
        "\t-40.475117\t-40.498597\t6.469\t",
        "C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689",
        "H\t 0.002150416\t-0.0060313176\t 1.9761204e-3\t 0.133921",
        "1341.307\t1341.3284",
        "C\tC\t",
        "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4",
        "",
    ]
)


def tar(path, files, mode="w:bz2"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def sdf(*smiles):
    out = io.StringIO()
    writer = chem.SDWriter(out)
    for i, one in enumerate(smiles, 1):
        molecule = chem.AddHs(chem.MolFromSmiles(one))
        molecule.SetProp("_Name", f"gdb_{i}")
        writer.write(molecule)
    writer.close()
    return out.getvalue().encode()


def test_the_original_archive_of_qm9(tmp_path):
    second = METHANE.replace("gdb 1", "gdb 2").replace("C\tC\t\n", "OC1CC1\tOC1CC1\t\n").replace("\t0.5048", "\t0.25")
    files = {"dsgdb9nsd_000001.xyz": METHANE.encode(), "dsgdb9nsd_000002.xyz": second.encode()}
    rows = qm9(tar(tmp_path / "dsgdb9nsd.xyz.tar.bz2", files))
    assert rows["canonical_smiles"][:] == ["C", chem.CanonSmiles("OC1CC1")]
    assert rows["name"][:] == ["gdb_1", "gdb_2"]
    assert rows["gap"][:] == [0.5048, 0.25]
    assert (rows["A"][0], rows["u0"][0], rows["cv"][0]) == (157.7, -40.47893, 6.469)
    assert rows["ring_count"][:] == [0, 1]


def test_a_file_that_is_no_molecule_of_qm9_is_named(tmp_path):
    for broken in (METHANE.replace("\t6.469", ""), "3\nonly this", METHANE.replace("13.21", "thirteen")):
        path = tar(tmp_path / "dsgdb9nsd.xyz.tar.bz2", {"a/dsgdb9nsd_000001.xyz": broken.encode()})
        with pytest.raises(ValueError, match=r"^a/dsgdb9nsd_000001\.xyz of .* is no molecule of QM9's format"):
            qm9(path)


def test_moleculenet_s_archive_of_qm9(tmp_path):
    table = b"mol_id,gap,mu\ngdb_2,0.25,1.5\ngdb_1,0.5,0.0\n"
    files = {"gdb9.sdf": sdf("C", "OC1CC1"), "gdb9.sdf.csv": table}
    for path in (tar(tmp_path / "gdb9.tar.gz", files, "w:gz"), zipped(tmp_path / "qm9.zip", files)):
        rows = qm9(path)
        assert rows["canonical_smiles"][:] == ["C", chem.CanonSmiles("OC1CC1")]
        assert rows["gap"][:] == [0.5, 0.25]
        assert rows["mu"][:] == [0.0, 1.5]


def test_a_table_in_an_archive(tmp_path):
    one = zipped(tmp_path / "one.whl", {"pkg/zinc.smiles": "OCC\nC1CC1\n", "pkg-1.dist-info/top_level.txt": "pkg"})
    assert zinc250k(one)["canonical_smiles"][:] == ["CCO", "C1CC1"]
    two = zipped(tmp_path / "two.zip", {"a.csv": "smiles\nC\n", "b/c.csv": "smiles\nN\n", "README.md": "?"})
    with pytest.raises(ValueError, match=r"got 2 \(a\.csv, b/c\.csv\): name one as .*two\.zip/a\.csv"):
        read_table(two)
    assert read_table(f"{two}/b/c.csv")["smiles"][:] == ["N"]
    with pytest.raises(ValueError, match=r"two\.zip has no file d\.csv"):
        read_table(f"{two}/d.csv")
    with pytest.raises(ValueError, match="file in the archive, got 0"):
        read_table(zipped(tmp_path / "none.zip", {"README.md": "?"}))
    (tmp_path / "torn.zip").write_bytes(two.read_bytes()[:40])
    (tmp_path / "torn.tar.gz").write_bytes(gzip.compress(b"not a tar file"))
    for torn in ("torn.zip", "torn.tar.gz"):
        with pytest.raises(ValueError, match=rf"{torn} cannot be read"):
            read_table(tmp_path / torn)


@pytest.mark.parametrize("form", ["split column", "folder", "wheel"])
def test_moses(tmp_path, form):
    parts = {"train": ["OCC", "C1CC1"], "test": ["OC"], "test_scaffolds": ["OC1CC1"]}
    if form == "split column":
        path = tmp_path / "dataset_v1.csv"
        lines = [f"{smiles},{part}" for part, rows in parts.items() for smiles in rows]
        path.write_text("\n".join(["SMILES,SPLIT", *lines]))
    else:
        files = {
            f"moses/dataset/data/{part}.csv.gz": gzip.compress("\n".join(["SMILES", *rows]).encode())
            for part, rows in parts.items()
        }
        path = zipped(tmp_path / "molsets-0.3.1-py3-none-any.whl", files)
    if form == "folder":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path)
        path = tmp_path / "moses/dataset/data"
    found = moses(path)
    assert {part: rows["canonical_smiles"][:] for part, rows in found.items()} == {
        "train": ["CCO", "C1CC1"],
        "validation": ["CO"],
        "test_scaffolds": [chem.CanonSmiles("OC1CC1")],
    }
    assert found["train"]["ring_count"][:] == [0, 1]


def test_what_is_not_moses_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("SMILES\nC\n")
    with pytest.raises(ValueError, match="has no part 'test'"):
        moses(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Expected dataset_v1\.csv, a folder of train\.csv"):
        moses(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="Expected a column 'SPLIT'"):
        moses(tmp_path / "train.csv")
