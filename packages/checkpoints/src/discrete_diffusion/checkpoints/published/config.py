"""Configurations of the published training code."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from discrete_diffusion.checkpoints.published.dimamba import dimamba_refusal, dimamba_sizes

INTERPOLATION = re.compile(r"\$\{\s*(\.*)([\w.-]+)\s*\}")
HOPS = 8
SCHEDULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "loglinear": ("LogLinear", ()),
    "cosine": ("Cosine", ()),
    "cosinesqr": ("CosineSquared", ()),
    "geometric": ("Geometric", ("sigma_min", "sigma_max")),
    "linear": ("Linear", ("sigma_min", "sigma_max")),
}
"""Published noise types: our class, and its arguments from `noise`. Other arguments are fixed in the code, eps 1e-3."""
EPS = 1e-3
UNSUPPORTED = {
    "unet": "its layers are named otherwise than those of our UNet",
    "ar": "MDLM's class of its own, with other layers than a DiT",
}
MISSING = object()


def setting(config: Mapping[str, Any], path: str, default: Any = MISSING, hops: int = HOPS) -> Any:
    """Return the entry of a dotted path, with interpolations `${a.b}` and `${.b}` resolved.

    Raises:
        ValueError: If there is none and no default, or it is an unsupported interpolation.
    """
    value: Any = config
    for part in path.split("."):
        value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
    if isinstance(value, str) and "${" in value:
        found = INTERPOLATION.fullmatch(value.strip())
        if found is None or hops == 0:
            raise ValueError(f"Expected a plain value of `{path}` in the checkpoint's configuration, got {value}.")
        dots, target = found.groups()
        parents = path.split(".")[: -len(dots)] if dots else []
        return setting(config, ".".join([*parents, target]), default, hops - 1)
    if value is MISSING or value == "???":
        if default is MISSING:
            raise ValueError(f"Expected `{path}` in the checkpoint's configuration: it has none.")
        return default
    return value


def number(config: Mapping[str, Any], path: str, default: Any = MISSING) -> Any:
    """Return the entry of a dotted path, a number; see `setting`.

    Raises:
        ValueError: If it is not a number.
    """
    value = setting(config, path, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Expected a number as `{path}` in the checkpoint's configuration, got {value!r}.")
    return value


def fields(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields that config.json of a published folder has; see `hub_folder.published_parts`.

    For `backbone=dimamba`, they are the fields for `dimamba.dimamba_parts`.

    Args:
        config: Published configuration.
        weights: Weights by their published names, which alone hold the sizes of `backbone=hf_dit`.

    Raises:
        ValueError: If the model is not supported.
    """
    backbone, kind = str(setting(config, "backbone")), parameterization(config)
    reason = _refusal(config, weights, backbone, causal=kind == "autoregressive")
    if reason is not None:
        raise ValueError(
            f"Expected backbone=dit, hf_dit or a dimamba like ours, got {backbone}, which cannot be converted: "
            f"{reason}."
        )
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    rows = shapes.get("backbone.cond_map.embedding_table.weight", (0,))[0]
    found = {
        "model_type": "mdlm" if kind == "absorbing" else "udlm",
        "vocab_size": shapes.get("backbone.vocab_embed.embedding", (0,))[0],
        # Left to right, the first token is given and never predicted: see `model`.
        "model_length": number(config, "model.length") - (kind == "autoregressive"),
        "time_conditioning": kind != "autoregressive" and setting(config, "time_conditioning"),
        "cfg": rows > 0,
        "cfg_num_classes": rows - 1,
    }
    if backbone == "dimamba":
        return {**found, **dimamba_sizes(weights)}
    if backbone == "hf_dit":
        return {**found, **_measured(shapes), "dropout": 0.1}
    names = {"hidden_dim": "hidden_size", **{name: name for name in ("cond_dim", "n_blocks", "n_heads", "dropout")}}
    return {**found, **{ours: setting(config, f"model.{theirs}") for ours, theirs in names.items()}}


def parameterization(config: Mapping[str, Any]) -> str:
    """Return the kind of model: "autoregressive", "absorbing" or "uniform".

    Raises:
        ValueError: If it is another one.
    """
    # MDLM's first configurations name no diffusion: there was one.
    diffusion, reading = str(setting(config, "diffusion", "absorbing_state")), setting(config, "parameterization")
    if reading == "ar":
        return "autoregressive"
    kinds = {"absorbing_state": "absorbing", "uniform": "uniform"}
    if diffusion not in kinds or reading not in ("subs", "d3pm") or (diffusion, reading) == ("uniform", "subs"):
        raise ValueError(
            "Expected diffusion=absorbing_state or uniform with parameterization=subs or d3pm, or parameterization=ar, "
            f"got diffusion={diffusion} with parameterization={reading}, which cannot be converted."
        )
    return kinds[diffusion]


def schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the noise schedule, as a target.

    Raises:
        ValueError: If it is not supported.
    """
    kind = str(setting(config, "noise.type"))
    if kind not in SCHEDULES:
        raise ValueError(f"Expected noise.type to be one of {', '.join(SCHEDULES)}, got {kind}.")
    name, arguments = SCHEDULES[kind]
    values = {argument: float(number(config, f"noise.{argument}")) for argument in arguments} or {"eps": EPS}
    return {"_target_": f"discrete_diffusion.schedules.{name}", **values}


def model(config: Mapping[str, Any], loglinear: Mapping[str, Any], bos_id: int | None) -> dict[str, Any]:
    """Return denoiser, objective and sampler of the model, as targets.

    Published autoregressive models count `<bos>` as the first token. Ours do not, so that sequences have one token
    less.

    Args:
        config: Published configuration.
        loglinear: The same targets for a log-linear schedule in continuous time.
        bos_id: Id of `<bos>`, for autoregressive models.
    """
    if parameterization(config) == "autoregressive":
        return {
            "causal": True,
            "needs": "bos_token",
            "time_conditioning": False,
            "denoiser": {
                "_target_": "discrete_diffusion.processes.NextToken",
                "_partial_": True,
                "bos_id": bos_id,
            },
            "objective": {"_target_": "discrete_diffusion.processes.AutoregressiveNLL"},
            "sampler": {
                "_target_": "discrete_diffusion.guidance.AutoregressiveSampler",
                "bos_id": bos_id,
            },
        }
    process = {**loglinear["process"], "schedule": schedule(config)}
    steps, sampled = number(config, "T", 0), number(config, "sampling.steps", loglinear["sampler"]["steps"])
    objective: dict[str, Any] = {"_target_": "discrete_diffusion.processes.ContinuousNELBO", "process": process}
    if steps > 0:
        objective = {"_target_": "discrete_diffusion.processes.DiscreteNELBO", "process": process, "steps": int(steps)}
    return {
        **loglinear,
        "process": process,
        "denoiser": {**loglinear["denoiser"], "process": process},
        "objective": objective,
        "sampler": {
            **loglinear["sampler"],
            "process": process,
            "lift": {**loglinear["sampler"]["lift"], "process": process},
            "steps": int(sampled),
        },
    }


def _refusal(config: Mapping[str, Any], weights: Mapping[str, Tensor], backbone: str, *, causal: bool) -> str | None:
    """Return why the network is not supported, None if it is."""
    if backbone == "dimamba":
        joined = setting(config, "model.bidirectional_strategy", "add")
        return dimamba_refusal(weights, causal=causal, strategy=joined)
    return None if backbone in ("dit", "hf_dit") else UNSUPPORTED.get(backbone, "it is none of the published code")


def _measured(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the sizes of a network from its weights.

    Raises:
        ValueError: If a weight that determines them is missing.
    """
    try:
        hidden, frequencies = shapes["backbone.vocab_embed.embedding"][1], shapes["backbone.rotary_emb.inv_freq"][0]
        cond = shapes["backbone.sigma_map.mlp.2.weight"][0]
    except (KeyError, IndexError) as error:
        raise ValueError(f"Expected the weights of a published DiT for backbone=hf_dit: {error} is missing.") from error
    blocks = {name.split(".")[2] for name in shapes if name.startswith("backbone.blocks.")}
    return {
        "hidden_dim": hidden,
        "cond_dim": cond,
        "n_blocks": len(blocks),
        "n_heads": hidden // max(2 * frequencies, 1),
    }
