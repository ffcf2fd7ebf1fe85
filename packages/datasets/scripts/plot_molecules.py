"""Draws the distribution of `molecules()` into docs/molecules.png and prints its numbers; needs matplotlib."""

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rdkit import Chem

from discrete_diffusion.datasets import molecules
from discrete_diffusion.datasets.smiles_tokenizer import smiles_symbols

rows = molecules()
smiles, qed, rings = (rows[column][:] for column in ("canonical_smiles", "qed", "ring_count"))
atoms = [Chem.MolFromSmiles(one).GetNumHeavyAtoms() for one in smiles]
tokens = [len(smiles_symbols(one)) for one in smiles]
threshold = np.percentile(qed, 90)

figure = Figure(figsize=(10, 2.6), layout="constrained")
axes = figure.subplots(1, 4)
for axis, values, title in zip(axes, (atoms, rings, tokens), ("heavy atoms", "rings", "SMILES tokens"), strict=False):
    counts = Counter(values)
    axis.bar(list(counts), [counts[i] / len(values) for i in counts], width=0.8, color="#4878a8")
    axis.set_title(title, fontsize=10)
axes[3].hist(qed, bins=60, weights=np.full(len(qed), 1 / len(qed)), color="#4878a8")
axes[3].axvline(threshold, color="#c44e52")
axes[3].annotate(
    f"90th percentile\n{threshold:.3f}", (threshold, 0.9), (5, 0), ("data", "axes fraction"), "offset points",
    fontsize=7, color="#c44e52", va="top",
)  # fmt: skip
axes[3].set_title("QED", fontsize=10)
axes[0].set_ylabel("share of molecules", fontsize=9)
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
figure.savefig(Path(__file__).parents[1] / "docs" / "molecules.png", dpi=110)

for name, values in {"heavy atoms": atoms, "rings": rings, "tokens": tokens, "qed": qed}.items():
    print(f"{name}: mean {np.mean(values):.3f}, from {np.min(values):.3g} to {np.max(values):.3g}")
print(f"{len(rows)} molecules, {len({s for one in smiles for s in smiles_symbols(one)})} symbols, 90th {threshold:.4f}")
