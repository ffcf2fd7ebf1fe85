"""Conversion of published checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from discrete_diffusion.checkpoints.data import build_data
from discrete_diffusion.checkpoints.hub import fetch
from discrete_diffusion.checkpoints.loading import load
from discrete_diffusion.checkpoints.published.converted import Converted
from discrete_diffusion.checkpoints.published.hub_folder import needs_tokenizer
from discrete_diffusion.checkpoints.published.lightning import Weights, converted_lightning
from discrete_diffusion.checkpoints.published.lightning_checkpoint import read_lightning
from discrete_diffusion.checkpoints.published.tokenizer import Tokenizer
from discrete_diffusion.datasets import LabelRule, ValueLabel


def convert(
    source: str | Path,
    directory: str | Path,
    *,
    weights: Weights | None = None,
    tokenizer: Tokenizer | None = None,
    data: Mapping[str, Any] | None = None,
    label: LabelRule | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Converted:
    """Read a checkpoint with `read_foreign` and write it in our format, completely or not at all.

    Args:
        source: A `.ckpt`, or anything that `load` reads.
        directory: Folder to write.
        data: Training data, as targets; see `trained_on`.
        label: Label of the classes on these data.
        weights: See `read_foreign`.
        tokenizer: See `read_foreign`.
        overwrite: Replace the checkpoint in `directory`.
        trust_remote_code: See `read_foreign`.

    Raises:
        FileExistsError: If `directory` exists and may not be replaced.
        FileNotFoundError: If there is no such source.
        ConnectionError: If the source or the tokenizer cannot be downloaded.
        ValueError: If the source cannot be read, or the data do not fit the model.
    """
    expect_free(directory, source, overwrite=overwrite)
    converted = read_foreign(source, weights=weights, tokenizer=tokenizer, trust_remote_code=trust_remote_code)
    if data is not None:
        converted = trained_on(converted, data, label)
    converted.checkpoint.save(directory)
    return converted


def read_foreign(
    source: str | Path,
    *,
    weights: Weights | None = None,
    tokenizer: Tokenizer | None = None,
    default_tokenizer: Callable[[], Tokenizer | None] | None = None,
    trust_remote_code: bool = False,
) -> Converted:
    """Read a Lightning `.ckpt` of the published training code, or anything that `load` reads.

    No code of a `.ckpt` is run: configuration and weights are read as data, as is a fast tokenizer, which holds its
    vocabulary.

    Args:
        source: The `.ckpt`, or anything that `load` reads.
        weights: Weights of a `.ckpt`: the moving averages, "ema", by default if there are any, or "last".
        tokenizer: Tokenizer of the model, its folder, or its name on the hub, if the source has none.
        default_tokenizer: Function that returns a tokenizer if the source has none and none is given.
        trust_remote_code: See `load`; code in a `.ckpt` is never run.

    Raises:
        FileNotFoundError: If there is no such source.
        ConnectionError: If source or tokenizer cannot be downloaded.
        ValueError: If it cannot be read, or has an unsupported architecture, which the message names.
    """
    source = Path(source) if Path(source).exists() else source
    if (isinstance(source, Path) and source.is_file()) or str(source).endswith(".ckpt"):
        found = read_lightning(source)
        if found.kind == "classifier":
            raise ValueError(
                f"Expected a generator in {source}, which holds a classifier: `convert_classifier` reads it "
                "beside the converted `generator` that it steers."
            )
        return converted_lightning(found, weights, tokenizer, default_tokenizer)
    if weights is not None:
        raise ValueError(f"Expected no `weights` for {source}: only a Lightning checkpoint holds several.")
    folder = fetch(source)
    if tokenizer is None and default_tokenizer is not None and needs_tokenizer(folder):
        tokenizer = default_tokenizer()
    checkpoint = load(folder, tokenizer=tokenizer, trust_remote_code=trust_remote_code)
    return Converted(checkpoint, f"the checkpoint {source}")


def trained_on(converted: Converted, data: Mapping[str, Any], label: LabelRule | None) -> Converted:
    """Return the model with a description of its training data, so that likelihood and novelty can be measured.

    Args:
        converted: The model.
        data: Rows, column and layout, as in `data` of a checkpoint's config.json; the length is that of the model.
        label: Label of the classes on these data, with as many classes as the network has.

    Raises:
        ValueError: If the data do not fit the model.
    """
    checkpoint = converted.checkpoint
    if isinstance(label, ValueLabel):
        raise ValueError("Expected a label of classes or none as `label`, got numbers.")
    classes = checkpoint.null_label
    if (classes is None) != (label is None):
        expected = "no label: the network has none" if classes is None else f"a label of {classes} classes"
        raise ValueError(f"Expected {expected} as `label`.")
    if converted.behind_bos:
        raise ValueError(
            "Expected no data for a published model from left to right: its sequences follow <bos>, and those of data "
            "begin with it."
        )
    settings = {**data, "length": checkpoint.length}
    found = build_data(settings, tokenizer=checkpoint.tokenizer, label=label, length=checkpoint.length)
    if found.label is not None and found.label.num_classes != classes:
        raise ValueError(f"Expected a label of {classes} classes, as the network has, got {found.label.num_classes}.")
    described = None if found.label is None else found.label.to_dict()
    config = {**checkpoint.config, "data": settings, "label": described}
    return replace(converted, checkpoint=replace(checkpoint, config=config, label=found.label))


def expect_free(directory: str | Path, source: str | Path, *, overwrite: bool) -> None:
    """Check that a checkpoint that is converted from `source` may be written to `directory`.

    Raises:
        FileExistsError: If `directory` exists, unless it is another checkpoint and `overwrite` is set.
    """
    directory = Path(directory)
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if Path(source).exists() and Path(source).resolve().is_relative_to(directory.resolve()):
        raise FileExistsError(f"Expected another folder than that of the source, got {directory}.")
    whole = all((directory / name).is_file() for name in ("config.json", "model.safetensors"))
    if not whole:
        raise FileExistsError(f"{directory} holds something that is no checkpoint: name a new folder.")
    if not overwrite:
        raise FileExistsError(f"{directory} exists: name a new folder, or replace it with `overwrite`.")
