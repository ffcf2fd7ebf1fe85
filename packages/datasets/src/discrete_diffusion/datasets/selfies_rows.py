"""Molecules as SELFIES."""

import importlib.util
import os
from collections.abc import Callable

from discrete_diffusion.datasets.rewritten_rows import Rows, rewritten_rows
from discrete_diffusion.datasets.selfies_tokenizer import selfies_symbols


def selfies_rows(
    source: Callable[..., Rows], path: str | os.PathLike[str] | None = None, *, column: str = "canonical_smiles"
) -> Rows:
    """Return the rows of `source` with their molecules as SELFIES, in a further column `selfies`.

    SELFIES (Krenn et al., Machine Learning: Science and Technology 1, 045024, 2020; arXiv 1905.13741) is a language in
    which every sequence of symbols is a molecule with correct valences. Rows with molecules that it cannot express,
    such as those with more bonds than it allows, are marked in `drop_reason`.

    Args:
        source: Source of molecules, such as `molecules`, `qm9` or `zinc250k`.
        path: Argument `path` of `source`; None if it takes none.
        column: Column of SMILES.

    Raises:
        ValueError: If `source` takes no `path`, has no such column, or none of its molecules can be expressed.
        ImportError: If `selfies` is not installed.
    """
    if importlib.util.find_spec("selfies") is None:
        raise ImportError("`selfies_rows` needs SELFIES: install `discrete-diffusion-datasets[selfies]`.")
    import selfies

    return rewritten_rows(source, path, column, "SELFIES", _written, selfies.__version__)


def selfies_to_smiles(string: str) -> str | None:
    """Return the molecule of a SELFIES string as SMILES, not necessarily canonical; None if it is no molecule.

    A string with other symbols, such as a special token, is no molecule, although the decoder of the `selfies` package
    ignores some of them.
    """
    import selfies

    try:
        selfies_symbols(string)
        return selfies.decoder(string) or None
    except (ValueError, selfies.DecoderError):
        return None


def _written(smiles: str) -> str | None:
    import selfies

    try:
        return str(selfies.encoder(smiles))
    except selfies.EncoderError:
        return None
