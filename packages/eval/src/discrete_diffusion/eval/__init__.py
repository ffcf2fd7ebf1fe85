"""Metrics and plots for generated token sequences.

Names that need an optional dependency are imported on first use, so likelihoods and summaries work with numpy and
scipy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from discrete_diffusion.eval.metrics.likelihood import Likelihood
from discrete_diffusion.eval.metrics.summary import ConfidenceInterval, Description, confidence_interval, describe

if TYPE_CHECKING:
    from .metrics.chemnet import ChemNetReference, frechet_chemnet_distance
    from .metrics.classification import ClassificationReport, ClassScore, classification_report
    from .metrics.discriminator import discriminator_auroc, kmer_shares
    from .metrics.dna import (
        KmerComparison,
        compare_kmers,
        compare_kmers_by_species,
        gc_content,
        is_dna,
        jensen_shannon_distance,
        jensen_shannon_divergence,
        kmer_counts,
        kmer_spectrum,
    )
    from .metrics.ehrlich import Ehrlich
    from .metrics.generative_perplexity import GenerativePerplexity, TextPerplexity
    from .metrics.guacamol import GUACAMOL_TASKS, PMO_TASKS, guacamol_score
    from .metrics.hashed_strings import HashedStrings
    from .metrics.image_distances import FrechetDistance, ImageFeatures, frechet_distance, inception_score
    from .metrics.image_features import PixelComponents, classifier_features, inception_features
    from .metrics.mauve import TextFeatures, mauve_score
    from .metrics.molecule_descriptors import DescriptorReference, descriptors, frechet_descriptor_distance
    from .metrics.molecule_diversity import internal_diversity, scaffold, scaffolds
    from .metrics.molecules import (
        MoleculeProperty,
        MoleculeReport,
        ReferenceMolecules,
        canonical_smiles,
        evaluate_molecules,
        property_values,
        qed,
        ring_count,
        sa_score,
    )
    from .metrics.moses import (
        MosesReference,
        cosine_similarity,
        moses_metrics,
        nearest_neighbor_similarity,
        passes_filters,
    )
    from .metrics.oracles import CountedOracle, OracleBudgetError, auc_top_k
    from .metrics.pixels import ImageShapeError, Pixels
    from .metrics.proteins import (
        AMINO_ACIDS,
        NearestSequences,
        edit_distances,
        hydrophobicity,
        is_protein,
        low_complexity,
        net_charge,
    )
    from .metrics.sequence_classifier import SequenceClassifier
    from .metrics.text import distinct_n, remove_special_tokens, split_words, unigram_entropy
    from .plots.cost import CostPanel, draw_cost_panels
    from .plots.denoising import draw_denoising
    from .plots.distribution import draw_distribution
    from .plots.dna import draw_composition, draw_dna, draw_kmer_spectrum
    from .plots.image_grid import draw_image_grid, pixel_image
    from .plots.molecule_grid import draw_molecule_grid, molecule_image
    from .plots.noise_levels import draw_noise_levels, write_noise_levels
    from .plots.particle_weights import draw_particle_weights
    from .plots.style import ACCENT, INK, MUTED, RULE, new_figure, save_figure, series_style, style_axes
    from .plots.sweep import SweepAxis, SweepPoint, draw_sweep

__all__ = [
    "ACCENT",
    "AMINO_ACIDS",
    "GUACAMOL_TASKS",
    "INK",
    "MUTED",
    "PMO_TASKS",
    "RULE",
    "ChemNetReference",
    "ClassScore",
    "ClassificationReport",
    "ConfidenceInterval",
    "CostPanel",
    "CountedOracle",
    "Description",
    "DescriptorReference",
    "Ehrlich",
    "FrechetDistance",
    "GenerativePerplexity",
    "HashedStrings",
    "ImageFeatures",
    "ImageShapeError",
    "KmerComparison",
    "Likelihood",
    "MoleculeProperty",
    "MoleculeReport",
    "MosesReference",
    "NearestSequences",
    "OracleBudgetError",
    "PixelComponents",
    "Pixels",
    "ReferenceMolecules",
    "SequenceClassifier",
    "SweepAxis",
    "SweepPoint",
    "TextFeatures",
    "TextPerplexity",
    "auc_top_k",
    "canonical_smiles",
    "classification_report",
    "classifier_features",
    "compare_kmers",
    "compare_kmers_by_species",
    "confidence_interval",
    "cosine_similarity",
    "describe",
    "descriptors",
    "discriminator_auroc",
    "distinct_n",
    "draw_composition",
    "draw_cost_panels",
    "draw_denoising",
    "draw_distribution",
    "draw_dna",
    "draw_image_grid",
    "draw_kmer_spectrum",
    "draw_molecule_grid",
    "draw_noise_levels",
    "draw_particle_weights",
    "draw_sweep",
    "edit_distances",
    "evaluate_molecules",
    "frechet_chemnet_distance",
    "frechet_descriptor_distance",
    "frechet_distance",
    "gc_content",
    "guacamol_score",
    "hydrophobicity",
    "inception_features",
    "inception_score",
    "internal_diversity",
    "is_dna",
    "is_protein",
    "jensen_shannon_distance",
    "jensen_shannon_divergence",
    "kmer_counts",
    "kmer_shares",
    "kmer_spectrum",
    "low_complexity",
    "mauve_score",
    "molecule_image",
    "moses_metrics",
    "nearest_neighbor_similarity",
    "net_charge",
    "new_figure",
    "passes_filters",
    "pixel_image",
    "property_values",
    "qed",
    "remove_special_tokens",
    "ring_count",
    "sa_score",
    "save_figure",
    "scaffold",
    "scaffolds",
    "series_style",
    "split_words",
    "style_axes",
    "unigram_entropy",
    "write_noise_levels",
]

_MODULES = {
    "metrics.chemnet": "ChemNetReference frechet_chemnet_distance",
    "metrics.classification": "ClassScore ClassificationReport classification_report",
    "metrics.discriminator": "discriminator_auroc kmer_shares",
    "metrics.dna": (
        "KmerComparison compare_kmers compare_kmers_by_species gc_content is_dna "
        "jensen_shannon_distance jensen_shannon_divergence kmer_counts kmer_spectrum"
    ),
    "metrics.ehrlich": "Ehrlich",
    "metrics.generative_perplexity": "GenerativePerplexity TextPerplexity",
    "metrics.guacamol": "GUACAMOL_TASKS PMO_TASKS guacamol_score",
    "metrics.hashed_strings": "HashedStrings",
    "metrics.image_distances": "FrechetDistance ImageFeatures frechet_distance inception_score",
    "metrics.image_features": "PixelComponents classifier_features inception_features",
    "metrics.mauve": "TextFeatures mauve_score",
    "metrics.molecule_descriptors": "DescriptorReference descriptors frechet_descriptor_distance",
    "metrics.molecule_diversity": "internal_diversity scaffold scaffolds",
    "metrics.molecules": (
        "MoleculeProperty MoleculeReport ReferenceMolecules canonical_smiles evaluate_molecules "
        "property_values qed ring_count sa_score"
    ),
    "metrics.moses": ("MosesReference cosine_similarity moses_metrics nearest_neighbor_similarity passes_filters"),
    "metrics.oracles": "CountedOracle OracleBudgetError auc_top_k",
    "metrics.pixels": "ImageShapeError Pixels",
    "metrics.proteins": (
        "AMINO_ACIDS NearestSequences edit_distances hydrophobicity is_protein low_complexity net_charge"
    ),
    "metrics.sequence_classifier": "SequenceClassifier",
    "metrics.text": "distinct_n remove_special_tokens split_words unigram_entropy",
    "plots.cost": "CostPanel draw_cost_panels",
    "plots.denoising": "draw_denoising",
    "plots.distribution": "draw_distribution",
    "plots.dna": "draw_composition draw_dna draw_kmer_spectrum",
    "plots.image_grid": "draw_image_grid pixel_image",
    "plots.molecule_grid": "draw_molecule_grid molecule_image",
    "plots.noise_levels": "draw_noise_levels write_noise_levels",
    "plots.particle_weights": "draw_particle_weights",
    "plots.style": "ACCENT INK MUTED RULE new_figure save_figure series_style style_axes",
    "plots.sweep": "SweepAxis SweepPoint draw_sweep",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}
_EXTRAS_OF_MODULES = {
    "metrics.chemnet": "fcd",
    "metrics.image_distances": "images",
    "metrics.image_features": "images",
}
"""Extras of the modules that need several packages."""
_EXTRAS = {
    "PIL": "plots",
    "fcd_torch": "fcd",
    "matplotlib": "plots",
    "mauve": "mauve",
    "rdkit": "molecules",
    "sklearn": "classification",
    "torch": "text",
    "torchmetrics": "images",
    "transformers": "text",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        extra = _EXTRAS_OF_MODULES.get(_MODULE_OF[name], _EXTRAS[missing])
        raise ModuleNotFoundError(
            f"`{name}` needs {missing}: install `discrete-diffusion-eval[{extra}]`.", name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
