"""Published checkpoints of UDLM (arXiv 2412.10193) and MDLM (arXiv 2406.07524), read without running their code.

config.json           `model_type` udlm or mdlm, and the sizes of the network
model.safetensors     its weights, `backbone.*`; or in parts, or pytorch_model.bin
tokenizer files       perhaps: most of these models name a tokenizer elsewhere
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints.networks import build_network, shapes_of
from discrete_diffusion.checkpoints.published.tokenizer import Tokenizer, find_tokenizer, fitted, has_tokenizer
from discrete_diffusion.checkpoints.published.weights import dit_weights, read_weights
from discrete_diffusion.datasets import FittedCategoryLabel, Label

Network = TypeVar("Network", bound=nn.Module)

PROCESSES = {"udlm": "Uniform", "mdlm": "Absorbing"}
SIZES = ("vocab_size", "model_length", "hidden_dim", "cond_dim", "n_blocks", "n_heads")
NEEDED = (*SIZES, "dropout", "time_conditioning")


def is_published(directory: Path) -> bool:
    """Return whether the folder holds a checkpoint of the published formats."""
    try:
        fields = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return False
    return isinstance(fields, dict) and "format" not in fields and fields.get("model_type") in tuple(PROCESSES)


def needs_tokenizer(directory: Path) -> bool:
    """Return whether the folder holds a published checkpoint that comes without its tokenizer."""
    return is_published(directory) and not has_tokenizer(directory)


def read_published(
    directory: Path, tokenizer: Tokenizer | None = None
) -> tuple[dict[str, Any], DiT, PreTrainedTokenizerBase, Label | None]:
    """Return configuration, network, tokenizer and label of a published folder; see `published_parts`.

    Raises:
        FileNotFoundError: If it has no weights.
        ValueError: If its parts do not fit, or it has no tokenizer and none is given.
        ConnectionError: If the tokenizer cannot be read.
    """
    fields = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return published_parts(fields, read_weights(directory), find_tokenizer(directory, tokenizer), where=str(directory))


def published_parts(
    fields: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase, *, where: str
) -> tuple[dict[str, Any], DiT, PreTrainedTokenizerBase, Label | None]:
    """Return the parts of a `Checkpoint` from those of a published one.

    These models were trained with the log-linear schedule, eps 1e-3, and uniform noise with the leave-one-out
    parameterization (udlm) or masks (mdlm). Weights of any dtype become float32.

    With a label, the null label included, our network equals the published one. Without a label, the published network
    adds nothing to its condition, although it was not trained that way; ours adds the null label.

    Args:
        fields: Fields of the published config.json.
        weights: Weights by their published names, `backbone.*`.
        tokenizer: Tokenizer with as many symbols as the network, or with one less: the published code then counts a
            mask after the last symbol, and `<mask>` is added there.
        where: Name of the checkpoint in messages.

    Raises:
        ValueError: If something is missing, not supported, or does not fit.
    """
    _check(fields, where)
    labelled = bool(fields.get("cfg", False))
    backbone = {
        "_target_": "discrete_diffusion.backbones.DiT",
        "vocab_size": fields["vocab_size"],
        "hidden_size": fields["hidden_dim"],
        "num_blocks": fields["n_blocks"],
        "num_heads": fields["n_heads"],
        "cond_size": fields["cond_dim"],
        "dropout": float(fields["dropout"]),
        "num_classes": fields["cfg_num_classes"] if labelled else None,
        "causal": False,
        "time_conditioning": fields["time_conditioning"],
    }
    try:
        network = cast(DiT, build_network(backbone, shapes_of(weights), exact=False))
    except ValueError as error:
        raise ValueError(f"The sizes in config.json of {where} do not fit: {error}") from error
    network.load_state_dict(dit_weights(weights, network.state_dict(), head_size=network.head_size, where=where))
    return with_network(fields, backbone, network, tokenizer, where=where)


def with_network(
    fields: Mapping[str, Any],
    backbone: Mapping[str, Any],
    network: Network,
    tokenizer: PreTrainedTokenizerBase,
    *,
    where: str,
) -> tuple[dict[str, Any], Network, PreTrainedTokenizerBase, Label | None]:
    """Return the parts of a `Checkpoint` of a network, with numbers as names of its classes."""
    masks, classes = fields["model_type"] == "mdlm", backbone["num_classes"]
    tokenizer = fitted(tokenizer, fields["vocab_size"], masks=masks, where=where)
    names = tuple(f"class {index}" for index in range(classes or 0))
    label = None if classes is None else FittedCategoryLabel("label", names)
    config = {
        "model": loglinear_model(fields, tokenizer.mask_token_id if masks else None),
        "backbone": dict(backbone),
        "data": {"kind": "strings"},
        "length": fields["model_length"],
        "label": None if label is None else label.to_dict(),
    }
    return config, network, tokenizer, label


def loglinear_model(fields: Mapping[str, Any], mask_id: int | None) -> dict[str, Any]:
    """Return `model` of config.json for these models; without a mask, the noise is uniform."""
    process = {
        "_target_": f"discrete_diffusion.processes.{PROCESSES[fields['model_type']]}",
        "schedule": {"_target_": "discrete_diffusion.schedules.LogLinear", "eps": 1e-3},
        "vocab_size": fields["vocab_size"],
    }
    if mask_id is None:
        process["parameterization"] = {"_target_": "discrete_diffusion.processes.LeaveOneOut"}
    else:
        process["mask_id"] = mask_id
    return {
        "causal": False,
        "needs": None if mask_id is None else "mask_token",
        "time_conditioning": fields["time_conditioning"],
        "process": process,
        "denoiser": {
            "_target_": "discrete_diffusion.processes.NetworkDenoiser",
            "_partial_": True,
            "process": process,
        },
        "objective": {"_target_": "discrete_diffusion.processes.ContinuousNELBO", "process": process},
        "sampler": {
            "_target_": "discrete_diffusion.guidance.AncestralSampler",
            "process": process,
            "lift": {"_target_": "discrete_diffusion.processes.Ancestral", "_partial_": True, "process": process},
            "steps": 32 if fields["model_length"] <= 32 else 128,
        },
    }


def _check(fields: Mapping[str, Any], where: str) -> None:
    if fields.get("model_type") not in PROCESSES:
        raise ValueError(
            f"Expected a `model_type` of {' or '.join(PROCESSES)} in {where}, got {fields.get('model_type')}."
        )
    needed = (*NEEDED, "cfg_num_classes") if fields.get("cfg", False) else NEEDED
    absent = [name for name in needed if name not in fields]
    if absent:
        raise ValueError(f"Expected {', '.join(map(repr, absent))} in config.json of {where}: it is not whole.")
    for name in needed:
        whole = name in (*SIZES, "cfg_num_classes")
        if whole and (type(fields[name]) is not int or fields[name] < 1):
            raise ValueError(f"Expected `{name}` >= 1 in config.json of {where}, got {fields[name]!r}.")
    if type(fields["time_conditioning"]) is not bool or type(fields["dropout"]) not in (int, float):
        raise ValueError(
            f"Expected true or false and a number as `time_conditioning` and `dropout` in config.json of {where}, got "
            f"{fields['time_conditioning']!r} and {fields['dropout']!r}."
        )
