"""Published classifiers of noisy sequences (D-CBG, arXiv 2412.10193)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from discrete_diffusion.backbones import DiTClassifier
from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.classifier_checkpoint import ClassifierCheckpoint
from discrete_diffusion.checkpoints.compatibility import describe_generator, difference
from discrete_diffusion.checkpoints.networks import build_network, shapes_of
from discrete_diffusion.checkpoints.published.config import number, schedule, setting
from discrete_diffusion.checkpoints.published.converted import ConvertedClassifier
from discrete_diffusion.checkpoints.published.differences import classifier_differences
from discrete_diffusion.checkpoints.published.lightning_checkpoint import PREFIXES, LightningCheckpoint
from discrete_diffusion.checkpoints.published.tokenizer import fitted, is_of_tokenizer, unpickled_tokenizer
from discrete_diffusion.checkpoints.published.weights import dit_weights
from discrete_diffusion.datasets import FittedCategoryLabel, Label, ThresholdLabel

PREFIX = PREFIXES["classifier"]
EMBEDDING = f"{PREFIX}vocab_embed.embedding"
PROCESSES = {"absorbing_state": "Absorbing", "uniform": "Uniform"}
SIZES = {
    "hidden_size": "hidden_size",
    "num_blocks": "n_blocks",
    "num_heads": "n_heads",
    "num_outputs": "num_classes",
    "cond_size": "cond_dim",
}
"""Our names of sizes, and their names in `classifier_model`."""


def converted_classifier(found: LightningCheckpoint, generator: Checkpoint, named: str | Path) -> ConvertedClassifier:
    """Return the classifier of a published `.ckpt` in our format.

    Its noise level, process and vocabulary are those of the generator.

    Args:
        found: Content of the `.ckpt`.
        generator: The generator that it steers.
        named: Name of the generator in messages, such as its folder.

    Raises:
        ValueError: If its architecture is not supported, its parts do not fit, or it belongs to another generator.
    """
    refused = classifier_refusal(found.config)
    if refused is not None:
        reason, task = refused
        raise ValueError(
            f"Expected a noisy DiT classifier in {found.path}, got {reason}: train one of ours for {named} ({task})."
        )
    about = describe_generator(generator)
    _expect_generator(found, about, named)
    tokenizer_note = _expect_vocabulary(found, generator, named)
    backbone, network = _network(found, len(generator.tokenizer))
    label, label_note = class_names(found.config, network.num_outputs, generator.label)
    config = {
        "network": backbone,
        "process": generator.config["model"]["denoiser"]["process"],
        "quantity": None,
        "generator": {"path": str(named), **about},
    }
    unread = found.unread if tokenizer_note else tuple(note for note in found.unread if not is_of_tokenizer(note))
    notes = (*unread, tokenizer_note, label_note, *classifier_differences(found.config))
    return ConvertedClassifier(
        ClassifierCheckpoint(config, network, label, "noisy"),
        generator,
        f"the classifier of step {found.step:,} in {found.path}",
        tuple(note for note in notes if note),
    )


def _expect_generator(found: LightningCheckpoint, about: Mapping[str, Any], named: str | Path) -> None:
    """Check that the classifier was trained with the noise, length and time conditioning of this generator.

    Raises:
        ValueError: If it was not.
    """
    if about["process"] is None:
        raise ValueError(
            f"Expected a diffusion model as `generator`, got {named}, which goes from left to right: a noisy "
            "classifier steers none of these."
        )
    diffusion = setting(found.config, "diffusion", "absorbing_state")
    if diffusion not in PROCESSES:
        raise ValueError(f"Expected diffusion={' or '.join(PROCESSES)} in {found.path}, got {diffusion}.")
    conditioned = setting(found.config, "time_conditioning")
    if type(conditioned) is not bool:
        raise ValueError(f"Expected true or false as `time_conditioning` in {found.path}, got {conditioned!r}.")
    trained = {
        **about,
        "process": PROCESSES[diffusion],
        "schedule": repr(build(schedule(found.config))),
        "time_conditioning": conditioned,
        "length": number(found.config, "model.length"),
    }
    problem = difference("noisy", trained, about)
    if problem is not None:
        raise ValueError(f"{problem} ({named}): name the one that {found.path} was trained beside as `generator`.")


def _expect_vocabulary(found: LightningCheckpoint, generator: Checkpoint, named: str | Path) -> str | None:
    """Check that the classifier has the generator's vocabulary; return a note if only the sizes can be compared.

    Raises:
        ValueError: If it has another one.
    """
    rows, symbols = found.last.get(EMBEDDING), len(generator.tokenizer)
    if rows is not None and rows.ndim == 2 and len(rows) != symbols:
        raise ValueError(
            f"Expected a classifier of {symbols} symbols, as {named} has, got one of {len(rows)} in {found.path}: name "
            "the generator that it was trained beside as `generator`."
        )
    pickled = unpickled_tokenizer(found.tokenizer)
    if pickled is None:
        return "its tokenizer is none that can be read without its code: it is taken to be the generator's"
    masks = setting(found.config, "diffusion", "absorbing_state") == "absorbing_state"
    own = fitted(pickled, symbols, masks=masks, where=str(found.path))
    if own.get_vocab() != generator.tokenizer.get_vocab():
        raise ValueError(
            f"Expected the vocabulary of {named} in {found.path}, which numbers other symbols: name the generator that "
            "it was trained beside as `generator`."
        )
    return None


def _network(found: LightningCheckpoint, vocab_size: int) -> tuple[dict[str, Any], DiTClassifier]:
    sizes = {ours: number(found.config, f"classifier_model.{theirs}") for ours, theirs in SIZES.items()}
    for ours, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ValueError(f"Expected `classifier_model.{SIZES[ours]}` >= 1 in {found.path}, got {size!r}.")
    backbone = {
        "_target_": "discrete_diffusion.backbones.DiTClassifier",
        "vocab_size": vocab_size,
        **sizes,
        "dropout": float(number(found.config, "classifier_model.dropout")),
        "pooling": "mean",
        "time_conditioning": setting(found.config, "time_conditioning"),
        "final_norm": False,
    }
    try:
        network = cast(DiTClassifier, build_network(backbone, shapes_of(found.last), exact=False))
    except ValueError as error:
        raise ValueError(f"The sizes of `classifier_model` in {found.path} do not fit: {error}") from error
    state = network.state_dict()
    published: dict[str, Tensor] = dit_weights(
        found.last,
        {_published_name(name): weight for name, weight in state.items()},
        head_size=network.head_size,
        where=str(found.path),
        prefix=PREFIX,
    )
    network.load_state_dict({name: published[_published_name(name)] for name in state})
    return backbone, network


def _published_name(name: str) -> str:
    return f"output_layer.{name.removeprefix('linear.')}" if name.startswith("linear.") else name


def class_names(config: Mapping[str, Any], classes: int, own: Label | None) -> tuple[Label, str]:
    """Return the classes, and a note on the source of their names, which the file lacks.

    The names are the generator's if it has as many classes, and numbers otherwise. A generator's threshold does not
    fit if it belongs to another column, or if class 1 lies below it: class 1 of the published code lies above.

    Args:
        config: Configuration of the classifier.
        classes: Number of classes of the classifier.
        own: Label of the generator.
    """
    column = setting(config, "data.label_col", None)
    percentile = setting(config, "data.label_col_pctile", None)
    settings = "" if column is None else f" (data.label_col={column}"
    settings += "" if column is None else ")" if percentile is None else f", data.label_col_pctile={percentile})"
    if own is not None and own.num_classes == classes and _may_be(own, column):
        return own, f"the file does not name its classes{settings}: they are called as the generator's"
    label = FittedCategoryLabel(str(column or "label"), tuple(f"class {index}" for index in range(classes)))
    return label, f"the file does not name its classes{settings}: they are class 0 to {classes - 1}"


def _may_be(own: Label, column: Any) -> bool:
    if not isinstance(own, ThresholdLabel):
        return True
    return column in (None, own.column) and own.comparison.startswith(">")


OTHERS = {
    "hyenadna": "whose network runs code that comes with its weights",
    "dimamba": "whose last norm is modulated there, and is not here",
}


def classifier_refusal(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why a published classifier cannot become a `DiTClassifier` of noisy sequences, or None if it can.

    Returns:
        A description of the classifier, and the trainer's task for the same purpose.

    Raises:
        ValueError: If the configuration does not determine the kind of the classifier.
    """
    backbone = str(setting(config, "classifier_backbone"))
    pooling = setting(config, "classifier_model.pooling", "mean")
    if setting(config, "is_eval_classifier", False):
        return (
            "one of clean sequences (is_eval_classifier), which judges samples and steers nothing",
            "clean_classifier",
        )
    if setting(config, "is_fudge_classifier", False) or pooling == "no_pooling":
        return "FUDGE's, which reads <bos> first, and ours the sequence behind it", "prefix_classifier"
    if setting(config, "is_pplm_classifier", False) or pooling == "attention_mean":
        return "PPLM's or NOS's, which reads a generator's hidden states", "hidden_classifier"
    if setting(config, "parameterization", None) == "ar":
        return "one from left to right (parameterization=ar), which reads <bos> first", "prefix_classifier"
    if backbone != "dit":
        return f"a {backbone}, {OTHERS.get(backbone, 'which is none of the published code')}", "noisy_classifier"
    if pooling != "mean":
        return f"pooling={pooling}, which the published code takes over another axis or not at all", "noisy_classifier"
    return None
