"""Conversion of published Lightning checkpoints."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.published.config import fields, model, parameterization, setting
from discrete_diffusion.checkpoints.published.converted import Converted
from discrete_diffusion.checkpoints.published.differences import differences
from discrete_diffusion.checkpoints.published.dimamba import dimamba_parts
from discrete_diffusion.checkpoints.published.hub_folder import published_parts
from discrete_diffusion.checkpoints.published.lightning_checkpoint import LightningCheckpoint
from discrete_diffusion.checkpoints.published.tokenizer import Tokenizer, is_of_tokenizer, unpickled_tokenizer
from discrete_diffusion.checkpoints.published.weights import PREFIX
from discrete_diffusion.datasets import Label, pixel_tokenizer, pretrained_tokenizer, text8_tokenizer

Weights = Literal["ema", "last"]
Parts = Callable[..., tuple[dict[str, Any], nn.Module, PreTrainedTokenizerBase, Label | None]]
OURS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {"text8": text8_tokenizer, "raw_pixels": pixel_tokenizer}
"""Our tokenizers that the published code has too, by their published names."""


def converted_lightning(
    found: LightningCheckpoint,
    weights: Weights | None = None,
    tokenizer: Tokenizer | None = None,
    default_tokenizer: Callable[[], Tokenizer | None] | None = None,
) -> Converted:
    """Return the model of a published `.ckpt` in our format.

    Args:
        found: Content of the `.ckpt`.
        weights: The moving averages, "ema", by default if there are any, or "last".
        tokenizer: Tokenizer of the model; by default that of the file, or ours of the same name, or that of
            `default_tokenizer`.
        default_tokenizer: Function that returns a tokenizer.

    Raises:
        ConnectionError: If the tokenizer cannot be downloaded.
        ValueError: If its architecture is not supported, its parts do not fit, or there is no tokenizer.
    """
    if weights == "ema" and found.averaged is None:
        raise ValueError(f"Expected averaged weights in {found.path}, which has none: take the last ones.")
    notes = list(found.unread)
    averages = found.averaged if weights != "last" else None
    if averages is None and weights is None:
        notes.insert(0, "there are no averaged weights: the last ones were taken")
    named = averages or found.last
    if setting(found.config, "backbone", None) == "hf_dit":  # one of their models inside the other
        named = {name.removeprefix(PREFIX): weight for name, weight in named.items()}
    facts = fields(found.config, named)
    causal = parameterization(found.config) == "autoregressive"
    chosen, pickled = _tokenizer(found, tokenizer, default_tokenizer)
    parts: Parts = dimamba_parts if setting(found.config, "backbone") == "dimamba" else published_parts
    config, network, chosen, label = parts(
        facts, _without_gates(named, facts) if causal else named, chosen, where=str(found.path)
    )
    if causal:
        if chosen.bos_token_id is None:
            raise ValueError(f"Expected a tokenizer with a token that begins sequences for {found.path}.")
        config = {**config, "backbone": {**config["backbone"], "causal": True}}
        state = network.state_dict()
        network = build(config["backbone"]).eval()
        network.load_state_dict(state)
    config = {**config, "model": model(found.config, config["model"], chosen.bos_token_id)}
    if pickled:
        notes = [note for note in notes if not is_of_tokenizer(note)]
    description = f"the {'last' if averages is None else 'averaged'} weights of step {found.step:,} in {found.path}"
    return Converted(
        Checkpoint(config, network, chosen, label),
        description,
        (*notes, *differences(found.config, label is not None)),
        data if isinstance(data := setting(found.config, "data", {}), dict) else {},
        behind_bos=causal,
    )


def _tokenizer(
    found: LightningCheckpoint, given: Tokenizer | None, default: Callable[[], Tokenizer | None] | None
) -> tuple[PreTrainedTokenizerBase, bool]:
    """Return the tokenizer, and whether it is the pickled one.

    Raises:
        ValueError: If there is none.
    """
    if given is not None:
        return _loaded(given), False
    pickled = unpickled_tokenizer(found.tokenizer)
    if pickled is not None:
        return pickled, True
    name = setting(found.config, "data.tokenizer_name_or_path", None)
    if str(name) in OURS:
        return OURS[str(name)](), False
    other = None if default is None else default()
    if other is not None:
        return _loaded(other), False
    source = "the one that the model was trained with" if name is None else f"its configuration names {name!r}"
    raise ValueError(
        f"Expected a tokenizer for {found.path}, which holds none that can be read without its code: pass it, its "
        f"folder or its name on the hub as `tokenizer` ({source})."
    )


def _loaded(tokenizer: Tokenizer) -> PreTrainedTokenizerBase:
    return pretrained_tokenizer(tokenizer) if isinstance(tokenizer, str | Path) else tokenizer


def _without_gates(weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of an autoregressive model with further weights of our DiT that change nothing.

    The published network has no noise level as its input and, without labels, no modulation. A zero map of the noise
    level adds SiLU(0) = 0 to the condition, and a modulation with gates of one, and shifts and scales of zero, is the
    identity.
    """
    hidden, cond = facts["hidden_dim"], facts["cond_dim"]
    added = {
        f"{PREFIX}sigma_map.mlp.0.weight": torch.zeros(cond, 256),
        f"{PREFIX}sigma_map.mlp.0.bias": torch.zeros(cond),
        f"{PREFIX}sigma_map.mlp.2.weight": torch.zeros(cond, cond),
        f"{PREFIX}sigma_map.mlp.2.bias": torch.zeros(cond),
    }
    if not facts["cfg"]:
        added[f"{PREFIX}output_layer.adaLN_modulation.weight"] = torch.zeros(2 * hidden, cond)
        added[f"{PREFIX}output_layer.adaLN_modulation.bias"] = torch.zeros(2 * hidden)
        gates = torch.tensor([0.0, 0.0, 1.0] * 2).repeat_interleave(hidden)
        for block in range(facts["n_blocks"]):
            added[f"{PREFIX}blocks.{block}.adaLN_modulation.weight"] = torch.zeros(6 * hidden, cond)
            added[f"{PREFIX}blocks.{block}.adaLN_modulation.bias"] = gates
    return {**added, **weights}
