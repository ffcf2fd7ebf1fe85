"""QM9: the small organic molecules of the paper."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.archives import is_archive, member_names, read_members
from discrete_diffusion.datasets.files import Source, check_columns, read_file, read_table
from discrete_diffusion.datasets.hub import from_hub
from discrete_diffusion.datasets.molecule_rows import COLUMNS, NAMES, molecule_rows

PROPERTIES = ("A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u298", "h298", "g298", "cv")
"""Computed properties in the order of the archive, by the names of MoleculeNet's table; rotational constants in GHz,
dipole moment in debye, polarizability in cubic bohr, energies in hartree, r2 in square bohr, cv in cal/(mol K)."""


def qm9(path: Source | None = None, *, name: str = "yairschiff/qm9") -> datasets.Dataset:
    """Return QM9 with the columns `canonical_smiles`, `qed` and `ring_count`, and the others of its source.

    The 133,885 molecules of up to 9 heavy atoms of Ramakrishnan et al., Scientific Data 1, 140022 (2014). RDKit
    computes the columns that a file lacks. `path` may be

    - the original archive `dsgdb9nsd.xyz.tar.bz2` (figshare, doi 10.6084/m9.figshare.c.978904), whose molecules of
      GDB-17 and 15 properties are read;
    - MoleculeNet's archive `gdb9.tar.gz` or `qm9.zip`, or its table `qm9.csv` or `gdb9.sdf`;
    - any other file of `read_table` with a column `canonical_smiles` or `smiles`.

    Args:
        path: File to read instead of the data set `name` of the Hugging Face hub.
        name: Data set of the hub.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read or has no valid SMILES; single invalid ones are marked in `drop_reason`.
        ConnectionError: If there is no `path` and the hub cannot be reached.
        ImportError: If there is something to compute, and RDKit is not installed.
    """
    if path is None:
        rows = from_hub(name, "the original archive, or a CSV or other file of SMILES,", split="train")
        check_columns(rows.data.table, COLUMNS, name)
        return rows
    return molecule_rows(_table(path), path)


def _table(path: Source) -> pa.Table:
    file = Path(path).expanduser() if isinstance(path, (str, os.PathLike)) else None
    if file is not None and is_archive(file) and file.is_file():
        names = member_names(file)
        if any(name.endswith(".xyz") for name in names):
            return pa.Table.from_pylist(list(_records(file)))
        if "gdb9.sdf" in names and "gdb9.sdf.csv" in names:
            return _moleculenet(file)
    return read_table(path, names=NAMES).data.table


def _moleculenet(archive: Path) -> pa.Table:
    """Return the molecules of an archive's SDF file with the properties of the CSV file beside it."""
    molecules, properties = read_file(archive / "gdb9.sdf"), read_file(archive / "gdb9.sdf.csv")
    check_columns(properties, ["mol_id"], archive / "gdb9.sdf.csv")
    row = {name: i for i, name in enumerate(properties.column("mol_id").to_pylist())}
    rows = pa.array([row.get(name) for name in molecules.column("name").to_pylist()], pa.int64())
    matched = properties.drop_columns(["mol_id"]).take(rows)
    for name in matched.column_names:
        molecules = molecules.append_column(name, matched.column(name))
    return molecules


def _records(archive: Path) -> Iterator[Mapping[str, str | float]]:
    """Yield the molecules of the original archive, a file in an extended XYZ format for each.

    Raises:
        ValueError: If a file has another format.
    """
    for name, content in read_members(archive, lambda member: member.endswith(".xyz")):
        lines = content.decode("ascii").splitlines()
        try:
            atoms = int(lines[0])
            identity, *values = lines[1].split("\t")
            smiles = lines[atoms + 3].split()[0]
            numbers = [float(value) for value in values if value.strip()]
            yield {"smiles": smiles, "name": identity.replace(" ", "_")} | dict(zip(PROPERTIES, numbers, strict=True))
        except (IndexError, ValueError) as error:
            raise ValueError(f"{name} of {archive} is no molecule of QM9's format: {error}.") from error
