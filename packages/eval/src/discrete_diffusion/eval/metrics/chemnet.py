"""Fréchet ChemNet distance, with the network that the package `fcd_torch` contains."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import numpy as np
import torch
from fcd_torch.utils import SmilesDataset, load_imported_model
from jaxtyping import Float
from torch import nn

from discrete_diffusion.eval.metrics.molecule_descriptors import gaussian_frechet_distance
from discrete_diffusion.eval.metrics.molecules import valid_molecule

WEIGHTS = "ChemNet_v0.13_pretrained.pt"
WIDTH = 512
"""Number of activations of a molecule."""
_BATCH = 512


@dataclass(frozen=True, eq=False)
class ChemNetReference:
    """Gaussian fitted to the ChemNet activations of a set of molecules.

    Args:
        mean: Means.
        covariance: Covariances with the divisor n - 1.
    """

    mean: Float[np.ndarray, "512"]
    covariance: Float[np.ndarray, "512 512"]

    @classmethod
    def of(cls, smiles: Iterable[str]) -> "ChemNetReference":
        """Fit the Gaussian to molecules; about 4 ms of CPU time for each distinct one.

        Args:
            smiles: Valid strings, with repeats.

        Raises:
            ValueError: If a string is not a valid SMILES, or there are fewer than 2.
        """
        counts = Counter(smiles)
        n = counts.total()
        if n < 2:
            raise ValueError(f"Expected at least 2 molecules, got {n}.")
        strings, weights = list(counts), np.array(list(counts.values()), dtype=np.float64)
        total, products = np.zeros(WIDTH), np.zeros((WIDTH, WIDTH))
        for start in range(0, len(strings), _BATCH):
            rows = slice(start, start + _BATCH)
            activations = _activations(strings[rows])
            weighted = weights[rows, None] * activations
            total += weighted.sum(0)
            products += weighted.T @ activations
        mean = total / n
        return cls(mean, (products - n * np.outer(mean, mean)) / (n - 1))


def frechet_chemnet_distance(
    smiles: "Iterable[str] | ChemNetReference", reference: "Iterable[str] | ChemNetReference"
) -> float:
    """Return the Fréchet ChemNet distance (FCD) of two sets of molecules.

        FCD = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½)

    with the means and covariances of the activations of ChemNet, a network trained on bioassays (Preuer et al., arXiv
    1803.09518). The package `fcd_torch`, which MOSES uses, provides the network and its input. The distance is biased
    upwards for few molecules, so compare equal numbers.

    Args:
        smiles: Valid strings, with repeats.
        reference: Valid reference molecules. For several comparisons, `ChemNetReference.of` them.

    Raises:
        ValueError: If a string is not a valid SMILES, or a set has fewer than 2.
    """
    one, other = (s if isinstance(s, ChemNetReference) else ChemNetReference.of(s) for s in (smiles, reference))
    return gaussian_frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def _activations(smiles: Sequence[str]) -> Float[np.ndarray, "n 512"]:
    """Return the activations of the last hidden layer for each molecule, on the CPU.

    Raises:
        ValueError: If a string is not a valid SMILES.
    """
    for one in smiles:
        valid_molecule(one)
    dataset = SmilesDataset(smiles)
    tokens = torch.tensor(np.stack([dataset[row] for row in range(len(smiles))]), dtype=torch.float32)
    with torch.inference_mode():
        return _chemnet()(tokens.transpose(1, 2)).numpy().astype(np.float64)


@cache
def _chemnet() -> nn.Module:
    with as_file(files("fcd_torch") / WEIGHTS) as path:
        layers = torch.load(path, map_location="cpu", weights_only=True)
    network: nn.Module = load_imported_model(layers)
    return network.eval().requires_grad_(False)
