"""Checkpoints read from their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.build import build, check_arguments
from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.classifier_checkpoint import load_classifier
from discrete_diffusion.checkpoints.hub import fetch
from discrete_diffusion.checkpoints.networks import (
    build_network,
    check_integers,
    expect_finite,
    mismatch,
    other_kind,
    shapes_of,
    stored_shapes,
)
from discrete_diffusion.checkpoints.published.hub_folder import is_published, read_published
from discrete_diffusion.checkpoints.published.tokenizer import Tokenizer
from discrete_diffusion.checkpoints.storage import (
    condition_of,
    expect_described,
    expect_flags,
    expect_one_value,
    expect_unchanged,
    read_config,
    read_label,
    unreadable,
)
from discrete_diffusion.datasets import FittedValueLabel, Label
from discrete_diffusion.processes import NetworkTraits

PARTS = ("denoiser", "objective", "sampler")
"""Targets that `model` in config.json must have."""
ENTRIES = {"model": dict, "backbone": dict, "data": dict, "length": int}
FLAGS = {"causal": bool | None, "time_conditioning": bool | None, "needs": str | None}
"""Optional entries of `model`."""
COMPLETED = ("conditional", "last_step", "lift", "planner", "rates", "rest")
"""Roles inside a sampler whose targets wait for a `denoiser`."""
SHARED = ("vocab_size", "bos_id", "mask_id")
"""Arguments that have one value in all parts of a model."""
LONGEST = 2**20
"""Tokens that a sequence may have."""
OWN = ("model", "backbone", "data", "length", "label")
"""Our entries of config.json; that of an exported folder has entries for transformers as well."""

Value = TypeVar("Value")


def load(path: str | Path, *, tokenizer: Tokenizer | None = None, trust_remote_code: bool = False) -> Checkpoint:
    """Read a checkpoint of ours or a published one of UDLM or MDLM, on the CPU and in evaluation mode.

    Args:
        path: Its folder, its run, a folder of runs, or its name on the Hugging Face hub, from which it is downloaded.
        tokenizer: Tokenizer of a published model that comes without one: the tokenizer, its folder, or its name on the
            hub.
        trust_remote_code: Build what config.json names even if it is not ours, such as a data set of your own.
            Published models are read as data, and their code is never run.

    Raises:
        FileNotFoundError: If it is no checkpoint directory.
        ConnectionError: If it cannot be downloaded from the hub.
        UntrustedTargetError: If it names code outside the closed lists of `discrete_diffusion.checkpoints.TARGETS`.
        ValueError: If its parts do not belong together, a file has changed since it was saved, or a weight is not
            finite.
    """
    directory = fetch(path)
    if is_published(directory):
        return Checkpoint(*read_published(directory, tokenizer))
    if tokenizer is not None:
        raise ValueError(f"Expected no `tokenizer` for {directory}: a checkpoint of ours has its own.")
    config = read_config(directory, what="checkpoint", entries=ENTRIES, trust_remote_code=trust_remote_code)
    config = {name: config[name] for name in OWN if name in config}
    _expect_sound(config, directory / "config.json")
    try:
        file = directory / "model.safetensors"
        network = build_network(config["backbone"], _own_names(stored_shapes(file)))
        # Without the empty configuration, transformers would read that of the model, which it does not know.
        tokenizer = AutoTokenizer.from_pretrained(directory, config=PretrainedConfig(), trust_remote_code=False)
        condition = _condition(directory, config)
        weights = _own_names(load_file(file))
        for part in ("process", *PARTS):
            build(config["model"].get(part))
        _expect_usable(tokenizer)
    except Exception as error:
        raise unreadable("checkpoint", directory, error) from error
    problem = mismatch(shapes_of(network.state_dict()), shapes_of(weights))
    if problem is None:
        problem = other_kind(network.state_dict(), weights)
    vocab_size = config["backbone"].get("vocab_size", len(tokenizer))
    if problem is None and len(tokenizer) != vocab_size:
        problem = f"the tokenizer has {len(tokenizer)} symbols and the network {vocab_size}"
    beginning = config["model"]["denoiser"].get("bos_id", 0)
    if problem is None and not 0 <= beginning < len(tokenizer):
        problem = f"the tokenizer has {len(tokenizer)} symbols and `bos_id` is {beginning}"
    label, values = (None, condition) if isinstance(condition, FittedValueLabel) else (condition, None)
    classes, traits = None if label is None else label.num_classes, NetworkTraits.of(network)
    # A network that is built from somebody's folder says its classes itself.
    known = config["backbone"].get("num_classes", None if label is None else traits.num_classes)
    if problem is None and classes != known:
        problem = f"label.json has {classes} classes and the network {known}"
    numbers = None if values is None else len(values.columns)
    if problem is None and numbers != traits.num_values:
        problem = f"label.json has {numbers} numbers and the network {traits.num_values}"
    if problem is not None:
        raise ValueError(f"The parts of {directory} do not belong together: {problem}.")
    network.load_state_dict(weights)
    checkpoint = Checkpoint(config, network, tokenizer, label, values=values, folder=directory)
    try:
        _expect_complete(config["model"]["sampler"], checkpoint.denoiser())
    except Exception as error:  # a class of the user may raise any
        raise unreadable("checkpoint", directory, error) from error
    parts = sorted(part for part in directory.glob("classifiers/*") if part.is_dir())
    checkpoint = checkpoint.with_classifiers(**{part.name: load_classifier(part) for part in parts})
    expect_unchanged(directory)
    expect_finite(network, directory)
    return checkpoint


def _condition(directory: Path, config: Mapping[str, Any]) -> Label | FittedValueLabel | None:
    if (directory / "label.json").is_file():
        return read_label(directory / "label.json")
    return None if config.get("label") is None else condition_of(config["label"])


def _expect_sound(config: Mapping[str, Any], where: Path) -> None:
    """Check the types and sizes in config.json before anything is built."""
    if not 0 < config["length"] <= LONGEST:
        raise ValueError(f"Expected 1 <= `length` <= {LONGEST:,} in {where}, got {config['length']}.")
    stated = config["data"].get("length")
    if stated is not None and stated != config["length"]:
        raise ValueError(f"Expected one `length` in {where}, got {config['length']} and {stated!r:.40} of its data.")
    expect_described(config["model"], PARTS, where=where)
    if config["model"].get("process") is not None:
        expect_described(config["model"], ["process"], where=where)
    expect_described(config, ["backbone"], where=where)
    if config["data"].get("rows") is not None:
        expect_described(config["data"], ["rows"], where=where)
        kind = config["data"].get("kind")
        if not isinstance(kind, str):
            raise ValueError(f"Expected a text as `data.kind` in {where}, got {kind!r:.80}.")
    expect_flags(config, where=where)
    for name, kinds in FLAGS.items():
        if not isinstance(config["model"].get(name), kinds):
            raise ValueError(f"Expected another value of `{name}` in {where}, got {config['model'][name]!r:.80}.")
    for name in SHARED:
        expect_one_value([config["model"], config["backbone"]], name, where=where)
    try:
        check_integers(config["model"])
    except ValueError as error:
        raise ValueError(f"{error} It stands in {where}.") from None


def _expect_complete(node: Any, denoiser: Any, role: str = "") -> None:
    """Complete every part of a sampler that waits for a denoiser, as the sampler does, so that it lacks nothing."""
    if isinstance(node, Mapping):
        if node.get("_partial_") and role in COMPLETED:
            part = build(node)
            check_arguments(node["_target_"], part.func, {**part.keywords, "denoiser": denoiser})
            part(denoiser=denoiser)
        for name, child in node.items():
            _expect_complete(child, denoiser, str(name))
    elif isinstance(node, list):
        for child in node:
            _expect_complete(child, denoiser, role)


def _expect_usable(tokenizer: PreTrainedTokenizerBase) -> None:
    """Check what transformers accepts in the files of a tokenizer and fails on later."""
    ids = tokenizer.get_vocab().values()
    if set(ids) != set(range(len(ids))):
        raise ValueError(f"expected the ids 0 to {len(ids) - 1} in the vocabulary of its tokenizer, each once")
    if not isinstance(tokenizer.model_max_length, int | float):
        raise ValueError(f"expected a number as `model_max_length`, got {tokenizer.model_max_length!r:.80}")


def _own_names(weights: Mapping[str, Value]) -> dict[str, Value]:
    """Drop the prefix of a model that transformers has saved."""
    return {name.removeprefix("network."): weight for name, weight in weights.items()}
