"""Checkpoints as folders that transformers loads without these packages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import transformers

from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.storage import whole
from discrete_diffusion.checkpoints.transformers_export.card import model_card
from discrete_diffusion.checkpoints.transformers_export.modeling_code import MODELING_FILE, modeling_files

HUGGING_FACE = tuple(f"discrete_diffusion.backbones.HuggingFace{kind}LM" for kind in ("Masked", "Causal"))


def export(checkpoint: Checkpoint, directory: str | Path, *, card: str | None = None) -> Path:
    """Write a folder that `AutoModelForMaskedLM.from_pretrained(directory, trust_remote_code=True)` loads.

    Autoregressive models load by `AutoModelForCausalLM`. The folder holds weights, tokenizer, label, classifiers,
    README.md and the model's code, copied from the packages that trained it. `load` reads it too. Local paths are
    shortened to file names, so that no folder of yours is published.

    The network of a `HuggingFaceMaskedLM` or `HuggingFaceCausalLM` is an architecture of transformers and is saved as
    one, without process, label and classifiers: `load` does not read such a folder.

    Args:
        checkpoint: The checkpoint to export.
        directory: Folder to write, complete or not at all. It replaces an existing one.
        card: Text of README.md, by default that of `model_card`.

    Raises:
        ValueError: If the model is built of code from other packages, or is conditional on numbers.
    """
    if checkpoint.values is not None:
        raise ValueError("Expected a model with classes or without a condition: one with numbers cannot be exported.")
    directory = Path(directory)
    card = model_card(checkpoint, name=directory.name) if card is None else card
    with whole(directory) as partial:
        if checkpoint.config["backbone"]["_target_"].startswith(HUGGING_FACE):
            checkpoint.network.model.save_pretrained(partial)  # type: ignore[operator, union-attr]
            checkpoint.tokenizer.save_pretrained(partial)
        else:
            config = checkpoint.config
            used = (config["backbone"], config["model"]["denoiser"], config["model"]["sampler"])
            for name, text in modeling_files(set(_targets(used))).items():
                (partial / name).write_text(text, encoding="utf-8")
            _portable(checkpoint).save(partial / "checkpoint")
            for path in (partial / "checkpoint").iterdir():
                path.rename(partial / path.name)
            (partial / "checkpoint").rmdir()
        _name_tokenizer(partial / "tokenizer_config.json")
        (partial / "README.md").write_text(card, encoding="utf-8")
    return directory


def _portable(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with the fields of config.json that transformers reads, and without local folders."""
    kind = _class(checkpoint)
    auto = kind.replace("DiscreteDiffusion", "AutoModel")
    fields = {
        "architectures": [kind],
        "auto_map": {"AutoConfig": f"{MODELING_FILE}.DiscreteDiffusionConfig", auto: f"{MODELING_FILE}.{kind}"},
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
    if "flash_attention" in config["backbone"]:  # changes only the speed, and few people have the package
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
    """Name the tokenizer's class as transformers 4 does too, and remove its local folder."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("name_or_path", None)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _class(checkpoint: Checkpoint) -> str:
    return f"DiscreteDiffusionFor{'Causal' if checkpoint.process is None else 'Masked'}LM"


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child)
