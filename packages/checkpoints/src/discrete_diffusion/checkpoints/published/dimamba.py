"""Published DiMambas, such as the generators of Species10 (arXiv 2412.10193)."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.backbones import DiMamba
from discrete_diffusion.checkpoints.networks import build_network, shapes_of
from discrete_diffusion.checkpoints.published.hub_folder import with_network
from discrete_diffusion.checkpoints.published.weights import PREFIX, SHOWN
from discrete_diffusion.datasets import Label

MIXER = f"{PREFIX}model.bimamba.backbone."
HEAD = f"{PREFIX}model.lm_head.weight"
EMBEDDING = f"{MIXER}embeddings.word_embeddings.weight"
FIRST = f"{MIXER}layers.0."
MODULATION = f"{FIRST}adaLN_modulation.weight"
RATES = f"{FIRST}mixer.mamba_fwd.A_log"
BACKWARD = f"{FIRST}mixer.mamba_rev.A_log"
CONVOLUTION = f"{FIRST}mixer.mamba_fwd.conv1d.weight"
MEASURED = {EMBEDDING: 2, RATES: 2, CONVOLUTION: 3}
"""Weights that determine the sizes, and their numbers of dimensions."""
DIRECTIONS = ("mamba_fwd", "mamba_rev")
DROPOUT = 0.1
"""Dropout of every block, whatever `model.dropout` says."""
BIAS = "output_layer.linear.bias"
"""Weights that only our network has; they are zero."""
NAMES = {
    "vocab_embed.embedding": EMBEDDING,
    "output_layer.norm_final.weight": f"{MIXER}norm_f.weight",
    "output_layer.linear.weight": HEAD,
    "output_layer.adaLN_modulation.weight": f"{MIXER}adaLN_modulation_final.weight",
    "output_layer.adaLN_modulation.bias": f"{MIXER}adaLN_modulation_final.bias",
}
"""Our names and the published names of weights outside of blocks, where they differ."""


def dimamba_refusal(weights: Mapping[str, Tensor], *, causal: bool, strategy: Any) -> str | None:
    """Return why a published DiMamba is not supported, None if it is.

    Args:
        weights: Weights by their published names.
        causal: Whether it is autoregressive.
        strategy: Its `bidirectional_strategy`.
    """
    for name, axes in MEASURED.items():
        if name not in weights or weights[name].ndim != axes:
            return f"it has no {name} of {axes} axes"
    # The published loop over the blocks drops the residual that they return; the gated sum of adaLN has it already.
    if MODULATION not in weights:
        return "nothing modulates its blocks, and unmodulated ones of the published code drop what they read"
    if BACKWARD not in weights:
        return None if causal else "its diffusion reads from left to right alone, and those of ours in both directions"
    if causal:
        return "it predicts from left to right, and reads what it predicts"
    if strategy not in ("add", None):
        return f"its directions are joined by {strategy}, and those of ours are added"
    return None


def dimamba_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the sizes of a supported DiMamba from its weights."""
    vocab_size, hidden = weights[EMBEDDING].shape
    layers = {name.removeprefix(MIXER).split(".")[1] for name in weights if name.startswith(f"{MIXER}layers.")}
    projections = [
        [weights.get(f"{MIXER}layers.{layer}.mixer.{direction}.{name}.weight") for direction in DIRECTIONS]
        for layer in layers
        for name in ("in_proj", "out_proj")
    ]
    inner, state_size = weights[RATES].shape
    return {
        "vocab_size": vocab_size,
        "hidden_dim": hidden,
        "cond_dim": weights[MODULATION].shape[1],
        "n_blocks": len(layers),
        "state_size": state_size,
        "conv_size": weights[CONVOLUTION].shape[-1],
        "expand": inner // max(hidden, 1),
        "dropout": DROPOUT,
        "causal": BACKWARD not in weights,
        # Projections that are equal are as good as shared.
        "tie_directions": all(
            backward is None or (forward is not None and torch.equal(forward, backward))
            for forward, backward in projections
        ),
    }


def dimamba_parts(
    fields: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase, *, where: str
) -> tuple[dict[str, Any], DiMamba, PreTrainedTokenizerBase, Label | None]:
    """Return the parts of a `Checkpoint`; see `hub_folder.published_parts`.

    Raises:
        ValueError: If something is missing, not supported, or does not fit.
    """
    labelled, length = fields["cfg"], fields["model_length"]
    if type(length) is not int or length < 1 or type(fields["time_conditioning"]) is not bool:
        raise ValueError(
            f"Expected a whole `model.length` and true or false as `time_conditioning` in {where}, got {length!r} and "
            f"{fields['time_conditioning']!r}."
        )
    backbone = {
        "_target_": "discrete_diffusion.backbones.DiMamba",
        "vocab_size": fields["vocab_size"],
        "hidden_size": fields["hidden_dim"],
        "num_blocks": fields["n_blocks"],
        "state_size": fields["state_size"],
        "conv_size": fields["conv_size"],
        "expand": fields["expand"],
        "cond_size": fields["cond_dim"],
        "dropout": fields["dropout"],
        "num_classes": fields["cfg_num_classes"] if labelled else None,
        "causal": fields["causal"],
        "time_conditioning": fields["time_conditioning"],
        "tie_directions": fields["tie_directions"],
    }
    try:
        network = cast(DiMamba, build_network(backbone, shapes_of(weights), exact=False))
    except ValueError as error:
        raise ValueError(f"The sizes of the weights in {where} do not fit: {error}") from error
    network.load_state_dict(dimamba_weights(weights, network.state_dict(), where=where))
    return with_network(fields, backbone, network, tokenizer, where=where)


def dimamba_weights(
    published: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, where: str
) -> dict[str, Tensor]:
    """Return the weights of our `DiMamba`, in the expected dtypes, from published ones.

    Args:
        published: Weights by their published names; projections that both directions share may be there once or twice.
        expected: State dict of our `DiMamba`.
        where: Name of the weights in messages.

    Raises:
        ValueError: If a weight is missing, unknown or of another shape.
    """
    names = {name: published_name(name) for name in expected if name != BIAS}
    known = set(names.values())
    known |= {name.replace(*DIRECTIONS) for name in known if name.endswith(("in_proj.weight", "out_proj.weight"))}
    problems = [f"{name} is missing" for name in names.values() if name not in published]
    problems += [f"{name} is unknown" for name in published if name not in known]
    problems += [
        f"{theirs} has the shape {tuple(published[theirs].shape)} and not {tuple(expected[ours].shape)}"
        for ours, theirs in names.items()
        if theirs in published and published[theirs].shape != expected[ours].shape
    ]
    if problems:
        raise ValueError(f"Expected the weights of a DiMamba in {where}: {', '.join(problems[:SHOWN])}.")
    found = {ours: published[theirs].to(expected[ours].dtype) for ours, theirs in names.items()}
    return {**found, BIAS: torch.zeros_like(expected[BIAS])}


def published_name(name: str) -> str:
    """Return the published name of a weight of our DiMamba."""
    if not name.startswith("blocks."):
        return NAMES.get(name, f"{PREFIX}{name}")
    _, layer, *path = name.split(".")
    if path[:2] == ["mixer", "directions"]:
        path = ["mixer", DIRECTIONS[int(path[2])], *path[3:]]
    elif path[0] == "mixer":  # mixer.in_proj.0.weight
        path = ["mixer", DIRECTIONS[int(path[2])], path[1], *path[3:]]
    return ".".join([f"{MIXER}layers", layer, *path])
