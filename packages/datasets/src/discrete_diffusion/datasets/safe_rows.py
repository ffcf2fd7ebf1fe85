"""Molecules as SAFE."""

import importlib.util
import os
from collections.abc import Callable

from discrete_diffusion.datasets.rewritten_rows import Rows, rewritten_rows
from discrete_diffusion.datasets.safe import smiles_to_safe


def safe_rows(
    source: Callable[..., Rows], path: str | os.PathLike[str] | None = None, *, column: str = "canonical_smiles"
) -> Rows:
    """Return the rows of `source` with their molecules as SAFE, in a further column `safe`.

    A SAFE string (arXiv 2310.10773) is SMILES with one fragment after the other; see `smiles_to_safe`. Its tokenizer is
    `smiles_tokenizer`. Rows that cannot be written are marked in `drop_reason`.

    Args:
        source: Source of molecules, such as `molecules`, `qm9` or `zinc250k`.
        path: Argument `path` of `source`; None if it takes none.
        column: Column of SMILES.

    Raises:
        ValueError: If `source` takes no `path`, has no such column, or none of its molecules can be written.
        ImportError: If RDKit is not installed.
    """
    if importlib.util.find_spec("rdkit") is None:
        raise ImportError("`safe_rows` needs RDKit: install `discrete-diffusion-datasets[rdkit]`.")
    import rdkit

    return rewritten_rows(source, path, column, "SAFE", smiles_to_safe, f"1 {rdkit.__version__}")
