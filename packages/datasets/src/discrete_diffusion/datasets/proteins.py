"""Proteins: a user's own file, or the embedded stand-in."""

import pyarrow as pa
import pyarrow.compute

import datasets
from discrete_diffusion.datasets.files import Source, find_column, mark_rows, read_table
from discrete_diffusion.datasets.protein_distribution import SyntheticProteins
from discrete_diffusion.datasets.protein_tokenizer import AMINO_ACIDS, OTHER_RESIDUES

NAMES = ("sequence", "protein", "protein_sequence", "aa_sequence", "seq", "sequences", "text")


def proteins(path: Source, column: str | None = None) -> datasets.Dataset:
    """Read proteins from FASTA files or tables, with a column `sequence` and the other columns of the file.

    Letters become upper case, and a stop `*` at the end of a sequence is removed. Rows with other characters than the
    20 amino acids and B, J, O, U, X and Z are marked in a column `drop_reason`: `sequence_data` drops and counts them.

    Args:
        path: Files that `read_table` reads.
        column: Column of the sequences; by default `sequence`, `protein`, `seq` and the like.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file cannot be read, has no such column, or no row holds a protein.
    """
    rows = read_table(path, column, names=NAMES).data.table
    found = find_column(rows.column_names, column, NAMES)
    strings = pa.compute.utf8_upper(rows.column(found))
    strings = pa.compute.replace_substring_regex(strings, pattern=r"\*$", replacement="")
    strange = pa.compute.match_substring_regex(strings, f"[^{AMINO_ACIDS}{OTHER_RESIDUES}]")
    positions = pa.compute.fill_null(strange, False).to_numpy().nonzero()[0]
    if len(positions) == rows.num_rows:
        raise ValueError(f"Expected proteins in the column {found!r} of {path}, got {strings[0].as_py()[:60]!r}.")
    rows = mark_rows(rows, dict.fromkeys(map(int, positions), "other letters than amino acids"))
    others = [name for name in rows.column_names if name not in (found, "sequence")]
    rows = rows.select(others).add_column(0, "sequence", strings)
    return datasets.Dataset(datasets.table.InMemoryTable(rows))


def synthetic_proteins(
    size: int = 20_000,
    shortest: int = 40,
    longest: int = 126,
    families: int = 5,
    *,
    divergence: float = 0.2,
    seed: int = 0,
) -> datasets.Dataset:
    """Return `size` proteins of known distribution, as many of each family, with the columns `sequence` and `family`.

    `SyntheticProteins.drawn(families, divergence, shortest, longest, seed)` is their distribution.

    Raises:
        ValueError: If a number is too small.
    """
    for name, value, least in (("size", size, 1), ("shortest", shortest, 1), ("families", families, 2)):
        if value < least:
            raise ValueError(f"Expected `{name}` >= {least}, got {value}.")
    if divergence < 0:
        raise ValueError(f"Expected `divergence` >= 0, got {divergence}.")
    distribution = SyntheticProteins.drawn(families, divergence, shortest, longest, seed)
    sequences, which = distribution.sample(size, seed)
    rows = pa.table({"sequence": sequences, "family": [distribution.names[f] for f in which]})
    return datasets.Dataset(datasets.table.InMemoryTable(rows))
