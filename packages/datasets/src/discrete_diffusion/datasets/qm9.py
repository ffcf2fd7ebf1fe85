"""QM9: the small organic molecules of the paper."""

import datasets
from discrete_diffusion.datasets.files import Source, check_columns, read_table
from discrete_diffusion.datasets.molecule_rows import COLUMNS, NAMES, molecule_rows


def qm9(path: Source | None = None, *, name: str = "yairschiff/qm9") -> datasets.Dataset:
    """Returns QM9 with the columns `canonical_smiles`, `qed` and `ring_count`, and whatever else there is.

    The molecules of up to 9 heavy atoms of Ramakrishnan et al., Scientific Data 1, 140022 (2014). Where a file has no
    `qed` or `ring_count`, RDKit computes them from the SMILES.

    Args:
        path: a file that `read_table` reads, with a column `canonical_smiles` or `smiles`, instead of the data set
            `name` of the Hugging Face hub.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read or has no valid SMILES; single invalid ones are marked in `drop_reason`.
        ConnectionError: if there is no `path` and the hub cannot be reached.
    """
    if path is None:
        return _from_hub(name)
    return molecule_rows(read_table(path, names=NAMES).data.table, path)


def _from_hub(name: str) -> datasets.Dataset:
    try:
        rows = datasets.load_dataset(name, split="train")
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConnectionError(
            f"`{name}` cannot be read from the Hugging Face hub ({reason}): "
            "pass a local CSV, JSON or Parquet file as `path` (`data.path=` on the command line)."
        ) from error
    check_columns(rows.data.table, COLUMNS, name)
    return rows
