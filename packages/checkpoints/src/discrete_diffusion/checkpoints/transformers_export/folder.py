"""Checkpoints as folders that transformers loads where none of our packages is installed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

import transformers

from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.storage import whole
from discrete_diffusion.checkpoints.transformers_export.card import model_card
from discrete_diffusion.checkpoints.transformers_export.flatten import flatten

FILE = "modeling_discrete_diffusion"
TEMPLATE = "discrete_diffusion.checkpoints.transformers_export.model"
HUGGING_FACE = tuple(f"discrete_diffusion.backbones.HuggingFace{kind}LM" for kind in ("Masked", "Causal"))


def export(checkpoint: Checkpoint, directory: str | Path, *, card: str | None = None) -> Path:
    """Write a folder that `AutoModelForMaskedLM.from_pretrained(directory, trust_remote_code=True)` loads.

    Models that go from left to right load by `AutoModelForCausalLM`. Beside weights, tokenizer, label and classifiers
    the folder holds the model's code in one file, taken from the packages that trained it, and README.md. It is still a
    checkpoint that `load` reads. Paths are published as file names alone: where the data lay is nobody's business.

    The network of a `HuggingFaceMaskedLM` or `HuggingFaceCausalLM` is an architecture of transformers, and is saved as
    one: process, label and classifiers are not in the folder, and it is no checkpoint of ours.

    Args:
        directory: the folder; it appears whole or not at all, in place of what was there.
        card: the text of README.md; None is what `model_card` says of the checkpoint.

    Raises:
        ValueError: if the model is built of code that is not ours.
    """
    directory = Path(directory)
    card = model_card(checkpoint, name=directory.name) if card is None else card
    with whole(directory) as partial:
        if checkpoint.config["backbone"]["_target_"].startswith(HUGGING_FACE):
            checkpoint.network.model.save_pretrained(partial)  # type: ignore[operator, union-attr]
            checkpoint.tokenizer.save_pretrained(partial)
        else:
            (partial / f"{FILE}.py").write_text(modeling_file(checkpoint), encoding="utf-8")
            _portable(checkpoint).save(partial / "checkpoint")
            for path in (partial / "checkpoint").iterdir():
                path.rename(partial / path.name)
            (partial / "checkpoint").rmdir()
        _name_tokenizer(partial / "tokenizer_config.json")
        (partial / "README.md").write_text(card, encoding="utf-8")
    return directory


def modeling_file(checkpoint: Checkpoint) -> str:
    """The source of a module of transformers that needs torch and transformers alone.

    Raises:
        ValueError: if the model is built of code that is not ours.
    """
    parts = sorted({*_targets(checkpoint.config["backbone"]), *_targets(_used(checkpoint))})
    source = flatten([*parts, f"{TEMPLATE}.{_class(checkpoint)}"])
    packages = sorted({f"discrete-diffusion-{module.split('.')[1]}" for module in source.modules})
    header = [
        "# Generated from these packages. Their definitions follow, without imports of ours and shapes in annotations.",
        *(f"# {package} {version(package)}" for package in packages),
        "# SPDX-License-Identifier: Apache-2.0",
    ]
    table = [f'    "{path}": {source.names[path]},' for path in parts]
    return "\n".join(
        [*header, "", source.text, "", "PARTS.update(", "    {", *(f"    {line}" for line in table), "    }", ")", ""]
    )


def _portable(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint with what transformers reads of config.json, and without anybody's folders."""
    kind = _class(checkpoint)
    auto = kind.replace("DiscreteDiffusion", "AutoModel")
    fields = {
        "architectures": [kind],
        "auto_map": {"AutoConfig": f"{FILE}.DiscreteDiffusionConfig", auto: f"{FILE}.{kind}"},
        "dtype": str(next(checkpoint.network.parameters()).dtype).removeprefix("torch."),
        "model_type": "discrete_diffusion",
        "transformers_version": transformers.__version__,
        "vocab_size": checkpoint.config["backbone"]["vocab_size"],
    }
    classifiers = {
        name: replace(classifier, config=_without_folders(classifier.config))
        for name, classifier in checkpoint.classifiers.items()
    }
    config = {**fields, **_without_folders(checkpoint.config)}
    if "flash_attention" in config["backbone"]:  # changes nothing but speed, and is a package that few have
        config["backbone"] = {**config["backbone"], "flash_attention": False}
    return replace(checkpoint, config=config, classifiers=classifiers)


def _without_folders(node: Any, name: str = "") -> Any:
    if isinstance(node, Mapping):
        return {key: _without_folders(value, key) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_without_folders(value, name) for value in node]
    if isinstance(node, str) and "://" not in node and (name.endswith("path") or _is_place(node)):
        return PurePath(node).name
    return node


def _is_place(text: str) -> bool:
    return text.startswith(("/", "~")) or ("/" in text and Path(text).exists())


def _name_tokenizer(path: Path) -> None:
    """Call the class of a tokenizer of symbols by the name that transformers 4 knows too, and leave its folder out."""
    told = json.loads(path.read_text(encoding="utf-8"))
    told.pop("name_or_path", None)
    if told.get("tokenizer_class") == "TokenizersBackend":
        told["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _class(checkpoint: Checkpoint) -> str:
    left_to_right = getattr(checkpoint.denoiser(), "left_to_right", False)
    return f"DiscreteDiffusionFor{'Causal' if left_to_right else 'Masked'}LM"


def _used(checkpoint: Checkpoint) -> list[Any]:
    return [checkpoint.config["model"][name] for name in ("denoiser", "sampler")]


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child)
