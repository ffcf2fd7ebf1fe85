"""Metrics and pictures for generated token sequences.

Names that need an optional dependency are imported on first use, so that the likelihoods and summaries work with numpy
and scipy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from discrete_diffusion.eval.likelihood import Likelihood
from discrete_diffusion.eval.summary import ConfidenceInterval, Description, confidence_interval, describe

if TYPE_CHECKING:
    from .classification import ClassificationReport, ClassScore, classification_report
    from .cost import CostPoint, draw_cost
    from .denoising import draw_denoising
    from .descriptor_distance import DescriptorReference, descriptors, frechet_descriptor_distance
    from .discriminator import discriminator_auroc, kmer_shares
    from .distribution import draw_distribution
    from .dna import gc_content, is_dna
    from .dna_pictures import draw_composition, draw_kmer_spectrum
    from .dna_sheet import draw_dna
    from .frontier import FrontierPoint, draw_frontier
    from .generative_perplexity import GenerativePerplexity, TextPerplexity
    from .image_features import PixelComponents, classifier_features, inception_features
    from .image_grid import draw_image_grid, pixel_image
    from .images import FrechetDistance, ImageFeatures, frechet_distance, inception_score
    from .kmers import (
        KmerComparison,
        compare_kmers,
        compare_kmers_by_species,
        jensen_shannon_distance,
        jensen_shannon_divergence,
        kmer_counts,
        kmer_spectrum,
    )
    from .mauve import TextFeatures, mauve_score
    from .molecule_diversity import internal_diversity, scaffold, scaffolds
    from .molecule_grid import draw_molecule_grid, molecule_image
    from .molecules import (
        MoleculeProperty,
        MoleculeReport,
        ReferenceMolecules,
        canonical_smiles,
        evaluate_molecules,
        property_values,
        qed,
        ring_count,
    )
    from .noise_levels import draw_noise_levels, write_noise_levels
    from .particle_weights import draw_particle_weights
    from .pixels import Pixels
    from .sequence_classifier import SequenceClassifier
    from .synthetic_accessibility import sa_score
    from .text import distinct_n, unigram_entropy
    from .text_frontier import TextPoint, draw_text_frontier

__all__ = [
    "ClassScore",
    "ClassificationReport",
    "ConfidenceInterval",
    "CostPoint",
    "Description",
    "DescriptorReference",
    "FrechetDistance",
    "FrontierPoint",
    "GenerativePerplexity",
    "ImageFeatures",
    "KmerComparison",
    "Likelihood",
    "MoleculeProperty",
    "MoleculeReport",
    "PixelComponents",
    "Pixels",
    "ReferenceMolecules",
    "SequenceClassifier",
    "TextFeatures",
    "TextPerplexity",
    "TextPoint",
    "canonical_smiles",
    "classification_report",
    "classifier_features",
    "compare_kmers",
    "compare_kmers_by_species",
    "confidence_interval",
    "describe",
    "descriptors",
    "discriminator_auroc",
    "distinct_n",
    "draw_composition",
    "draw_cost",
    "draw_denoising",
    "draw_distribution",
    "draw_dna",
    "draw_frontier",
    "draw_image_grid",
    "draw_kmer_spectrum",
    "draw_molecule_grid",
    "draw_noise_levels",
    "draw_particle_weights",
    "draw_text_frontier",
    "evaluate_molecules",
    "frechet_descriptor_distance",
    "frechet_distance",
    "gc_content",
    "inception_features",
    "inception_score",
    "internal_diversity",
    "is_dna",
    "jensen_shannon_distance",
    "jensen_shannon_divergence",
    "kmer_counts",
    "kmer_shares",
    "kmer_spectrum",
    "mauve_score",
    "molecule_image",
    "pixel_image",
    "property_values",
    "qed",
    "ring_count",
    "sa_score",
    "scaffold",
    "scaffolds",
    "unigram_entropy",
    "write_noise_levels",
]

_FILES = {
    "ClassScore": "classification",
    "ClassificationReport": "classification",
    "CostPoint": "cost",
    "DescriptorReference": "descriptor_distance",
    "FrechetDistance": "images",
    "FrontierPoint": "frontier",
    "GenerativePerplexity": "generative_perplexity",
    "ImageFeatures": "images",
    "KmerComparison": "kmers",
    "MoleculeProperty": "molecules",
    "MoleculeReport": "molecules",
    "PixelComponents": "image_features",
    "Pixels": "pixels",
    "ReferenceMolecules": "molecules",
    "SequenceClassifier": "sequence_classifier",
    "TextFeatures": "mauve",
    "TextPerplexity": "generative_perplexity",
    "TextPoint": "text_frontier",
    "canonical_smiles": "molecules",
    "classification_report": "classification",
    "classifier_features": "image_features",
    "compare_kmers": "kmers",
    "compare_kmers_by_species": "kmers",
    "descriptors": "descriptor_distance",
    "discriminator_auroc": "discriminator",
    "distinct_n": "text",
    "draw_composition": "dna_pictures",
    "draw_cost": "cost",
    "draw_denoising": "denoising",
    "draw_distribution": "distribution",
    "draw_dna": "dna_sheet",
    "draw_frontier": "frontier",
    "draw_image_grid": "image_grid",
    "draw_kmer_spectrum": "dna_pictures",
    "draw_molecule_grid": "molecule_grid",
    "draw_noise_levels": "noise_levels",
    "draw_particle_weights": "particle_weights",
    "draw_text_frontier": "text_frontier",
    "evaluate_molecules": "molecules",
    "frechet_descriptor_distance": "descriptor_distance",
    "frechet_distance": "images",
    "gc_content": "dna",
    "inception_features": "image_features",
    "inception_score": "images",
    "internal_diversity": "molecule_diversity",
    "is_dna": "dna",
    "jensen_shannon_distance": "kmers",
    "jensen_shannon_divergence": "kmers",
    "kmer_counts": "kmers",
    "kmer_shares": "discriminator",
    "kmer_spectrum": "kmers",
    "mauve_score": "mauve",
    "molecule_image": "molecule_grid",
    "pixel_image": "image_grid",
    "property_values": "molecules",
    "qed": "molecules",
    "ring_count": "molecules",
    "sa_score": "synthetic_accessibility",
    "scaffold": "molecule_diversity",
    "scaffolds": "molecule_diversity",
    "unigram_entropy": "text",
    "write_noise_levels": "noise_levels",
}
_EXTRAS = {
    "PIL": "plots",
    "matplotlib": "plots",
    "mauve": "mauve",
    "rdkit": "molecules",
    "sklearn": "classification",
    "torch": "text",
    "torchmetrics": "images",
    "transformers": "text",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_FILES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        raise ModuleNotFoundError(
            f"`{name}` needs {missing}: install `discrete-diffusion-eval[{_EXTRAS[missing]}]`.", name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
