"""ZINC250k: molecules of the size of drugs."""

import datasets
from discrete_diffusion.datasets.files import Source, read_table
from discrete_diffusion.datasets.hub import from_hub
from discrete_diffusion.datasets.molecule_rows import NAMES, molecule_rows


def zinc250k(
    path: Source | None = None, *, name: str = "yairschiff/zinc250k"
) -> datasets.Dataset | datasets.DatasetDict:
    """Returns ZINC250k with the columns `canonical_smiles`, `qed` and `ring_count`, and `logp` where it is given.

    The 249,455 molecules of up to 38 heavy atoms, drawn at random from ZINC's drug-like ones, of Gómez-Bombarelli et
    al., ACS Central Science 4, 268-276 (2018). Their file, `250k_rndm_zinc_drugs_clean_3.csv`, has the columns
    `smiles`, `logP`, `qed` and `SAS`; any table with `smiles` or `canonical_smiles` will do. What is missing RDKit
    computes from the SMILES, once: it takes about a minute, and is kept in the cache folder. Stereochemistry stays.

    Args:
        path: a file that `read_table` reads, instead of the data set `name` of the Hugging Face
            hub, whose own split into training and validation is kept.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read, or has no valid SMILES; single invalid ones are marked in `drop_reason`.
        ConnectionError: if there is no `path` and the hub cannot be reached.
        ImportError: if there is something to compute, and RDKit is not installed.
    """
    if path is not None:
        return molecule_rows(read_table(path, names=NAMES).data.table, path)
    found = from_hub(name, "a local file of SMILES")
    parts = {split: molecule_rows(rows.with_format("arrow")[:], name) for split, rows in found.items()}
    return datasets.DatasetDict(parts) if {"train", "validation"} <= set(parts) else parts["train"]
