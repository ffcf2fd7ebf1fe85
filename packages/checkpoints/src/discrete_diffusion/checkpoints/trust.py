"""Closed lists of the classes and functions that a file may have built, by role."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from discrete_diffusion.checkpoints.legacy import MOVED


def _named(package: str, *names: str) -> frozenset[str]:
    return frozenset(f"discrete_diffusion.{package}.{name}" for name in names)


_ROWS = _named(
    "datasets",
    *("amazon_polarity", "cifar10", "digits", "image_folder", "lm1b", "molecules", "moses", "openwebtext", "prose"),
    *(
        "proteins",
        "qm9",
        "reviews",
        "safe_rows",
        "selfies_rows",
        "sentences",
        "species10",
        "synthetic_proteins",
        "synthetic_species",
        "table",
    ),
    *("text8", "zinc250k"),
)
_LABELS = _named("datasets", "CategoryLabel", "FittedCategoryLabel", "PercentileLabel", "ThresholdLabel")
_NETWORKS = _named(
    "backbones",
    *("DiMamba", "DiT", "HuggingFaceCausalLM", "HuggingFaceMaskedLM", "UNet"),
    *("DiMambaClassifier", "DiTClassifier", "HiddenClassifier", "UNetClassifier"),
)

TARGETS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "augment": _named("datasets", "FragmentOrder", "HorizontalFlip", "RandomCrop", "ReverseComplement"),
        "backbone": _NETWORKS,
        "denoiser": _named(
            "processes", "CausalNextToken", "LatentDenoiser", "LatentNextToken", "NetworkDenoiser", "NextToken"
        ),
        "conditional": _named("processes", "NoisyConditional"),
        "grid": _named("guidance", "cosine_times", "equal_survival_times", "equal_times", "log_snr_times"),
        "label": _LABELS | _named("datasets", "JointLabel", "ValueLabel"),
        "labels": _LABELS,
        "layout": _named("datasets", "Padded", "Wrapped"),
        "last_step": _named("processes", "Ancestral"),
        "lift": _named("processes", "Ancestral", "PredictorCorrector", "Remasking")
        | _named("guidance", "leaping_kernel"),
        "network": _NETWORKS,
        "objective": _named("processes", "AutoregressiveNLL", "ContinuousNELBO", "CrossEntropy", "DiscreteNELBO"),
        "order": _named(
            "guidance", "EntropyBound", "HighestConfidence", "LargestMargin", "LowestEntropy", "RandomOrder"
        ),
        "parameterization": _named("processes", "LeaveOneOut", "Mean"),
        "planner": _named("processes", "RawPrediction"),
        "process": _named("processes", "Absorbing", "Marginal", "Uniform"),
        "rate": _named("processes", "Capped", "Rescaled"),
        "rates": _named("processes", "ReverseRates"),
        "rest": _named("processes", "LeaveOneOutDenoiser"),
        "rows": _ROWS,
        "sampler": _named(
            "guidance",
            *("AncestralSampler", "AutoregressiveSampler", "FirstHittingSampler", "GibbsCorrectedSampler"),
            *("ConfidenceRemaskingSampler", "PathPlanningSampler", "UniformizationSampler"),
            *("MaskedAncestralSampler", "OrderSampler", "SettlingSampler", "TrapezoidalSampler"),
        ),
        "schedule": _named("schedules", "Cosine", "CosineSquared", "Geometric", "Linear", "LogLinear", "Polynomial"),
        "source": _ROWS,
        "times": _named("schedules", "DiscreteTimes", "IndependentTimes", "LowDiscrepancyTimes"),
        "tokenizer": _named(
            "datasets",
            *("character_tokenizer", "dna_tokenizer", "letter_tokenizer", "pixel_tokenizer", "pretrained_tokenizer"),
            *("protein_tokenizer",),
            *("selfies_tokenizer", "smiles_tokenizer", "smiles_tokenizer_from_vocab", "text8_tokenizer"),
            *("word_tokenizer",),
        ),
    }
)
"""Targets allowed for each role. A role is the name of the nearest key above a target."""

REFUSED = ("cache_dir", "trust_remote_code")
"""Arguments that a file may not set: a folder to write into, and consent to foreign code."""


class UntrustedTargetError(ValueError):
    """A file names code that is not in the closed list of its role.

    Attributes:
        role: Key under which the target stands.
        target: The target, as the file spells it.
    """

    def __init__(self, role: str, target: str, where: object, problem: str) -> None:
        super().__init__(f"{where} {problem}: pass `trust_remote_code=True` only if you trust whoever wrote the file.")
        self.role, self.target = role, target


def expect_trusted(config: Any, *, where: object, targets: Mapping[str, Collection[str]] = TARGETS) -> None:
    """Check every target in a configuration against the closed list of its role, nested targets included.

    Nothing is imported. Names of older versions count as their current ones.

    Args:
        config: Dictionaries and lists, as JSON or YAML holds them.
        where: File or folder, for the message.
        targets: Allowed targets by role.

    Raises:
        UntrustedTargetError: For the first target that is not allowed, and the first argument that a file may not set.
    """
    for role, node in _dictionaries(config):
        target = node.get("_target_")
        if "_target_" in node and (
            not isinstance(target, str) or MOVED.get(target, target) not in targets.get(role, ())
        ):
            raise UntrustedTargetError(
                role, str(target), where, f"builds `{target!s:.80}` as `{role:.40}`, which is not ours"
            )
        named = str(target or role)
        for name in REFUSED:
            if node.get(name) not in (None, False):
                raise UntrustedTargetError(role, named, where, f"sets `{name}` of `{named:.80}`")
        for name, value in node.items():
            # transformers downloads and runs a kernel that is named OWNER/KERNEL.
            if str(name).endswith("_implementation") and "/" in str(value):
                raise UntrustedTargetError(
                    role, named, where, f"sets `{name:.80}` of `{named:.80}` to foreign code ({value!s:.80})"
                )


def _dictionaries(node: Any, role: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dictionary with its role, outermost first."""
    if isinstance(node, Mapping):
        yield role, node
        for name, child in node.items():
            yield from _dictionaries(child, str(name))
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _dictionaries(child, role)
