"""Training that starts from an existing model."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints import Checkpoint, fetch, load, needs_tokenizer
from discrete_diffusion.datasets import SequenceData

NAME = "pretrained_model_name_or_path"
CHECKPOINTS = ("model", "backbone", "schedule", "parameterization", "objective", "lift", "tokenizer")
"""Groups that a checkpoint fixes, so that the command line cannot set them."""


def initial_checkpoint(config: DictConfig, overrides: Sequence[str]) -> Checkpoint | None:
    """Load the checkpoint whose weights training starts from; None means random weights.

    It is named by `initial`, or in the published spelling by `model=hf model.pretrained_model_name_or_path=`. Model,
    backbone and tokenizer come from the checkpoint and must not be overridden; those of an experiment are
    ignored. A published model without a tokenizer takes the configuration's.

    Args:
        config: Composed configuration.
        overrides: Overrides of the command line.

    Raises:
        ValueError: If the checkpoint is named twice or not at all, or if a group that it fixes is overridden.
    """
    path = config.get("initial")
    expects_name = any(NAME in group.keys() for group in (config.model, config.backbone))  # noqa: SIM118, `in` skips ???
    if NAME in config.model:
        if path is not None:
            raise ValueError(f"Expected `initial` or `model.{NAME}`, not both.")
        path = config.model[NAME]
    if path is None:
        if expects_name:
            raise ValueError(
                f"Expected a model for `model=hf` and `backbone=hf_dit`: name it by `model=hf model.{NAME}=`, a run, a "
                "published model's folder, or its name on the Hugging Face hub."
            )
        return None
    folder = fetch(path)
    lacking = needs_tokenizer(folder)
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        brought = name.partition(".")[0] in CHECKPOINTS and not (lacking and name.partition(".")[0] == "tokenizer")
        if brought and override not in ("model=hf", "backbone=hf_dit") and name != f"model.{NAME}":
            raise ValueError(f"Expected no `{override}`: model, backbone and tokenizer are those of {path}.")
    tokenizer = _fixed(instantiate(config.tokenizer), path) if lacking else None
    return load(folder, tokenizer=tokenizer, trust_remote_code=config.get("trust_remote_code", False))


def continued(initial: Checkpoint, settings: Mapping[str, Any], data: SequenceData) -> Checkpoint:
    """Return the initial model for training on these data, without its classifiers, which match the old weights.

    Raises:
        ValueError: If the data have other classes or numbers than the network.
    """
    if initial.values != data.values:
        found = "no such numbers" if data.values is None else data.values.column
        columns = "no numbers" if initial.values is None else f"the numbers {initial.values.column}"
        raise ValueError(f"Expected a `label` of {columns}, as the network to start from has, got {found}.")
    known = None if initial.label is None else initial.label.num_classes
    classes = None if data.label is None else data.label.num_classes
    if known is None and classes is not None:
        raise ValueError("Expected `label=none`: the network to start from was trained without labels.")
    if known != classes:
        found = "no `label`" if classes is None else f"{classes}"
        raise ValueError(f"Expected a `label` of {known} classes, as the network has, got {found}.")
    label = data.values or data.label
    described = None if label is None else label.to_dict()
    stored = {**settings, "length": data.length}
    config = {**initial.config, "data": stored, "length": data.length, "label": described}
    # Lightning keeps the mode of the network, and a checkpoint is loaded in evaluation mode.
    return Checkpoint(config, initial.network.train(), initial.tokenizer, data.label, values=data.values)


def _fixed(tokenizer: Any, path: str) -> PreTrainedTokenizerBase:
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(
            f"Expected the tokenizer that {path} was trained with, which comes without one: choose it by "
            "`tokenizer=pretrained tokenizer.name_or_path=`; one made from these data would number symbols anew."
        )
    return tokenizer
