"""Content of Lightning checkpoints of the published training code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from discrete_diffusion.checkpoints.published.inert import Inert, load_inert

Kind = Literal["generator", "classifier"]
PREFIXES: dict[Kind, str] = {"generator": "backbone.", "classifier": "classifier_model."}
"""Prefix of the network's weights, by kind of model."""
BUFFERS = ("rotary_emb.inv_freq",)
"""Endings of the names of buffers that these networks store."""
UNTOLD = ("noise.", "train_metrics.", "valid_metrics.", "limiting_distribution")
"""Prefixes of entries outside the network: noise, metrics, and tensors that the code recomputes."""
READ = frozenset(
    {
        "typing.Any",
        "collections.defaultdict",
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")),
        *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
        *(f"omegaconf.{kind.lower()}.{kind}" for kind in ("DictConfig", "ListConfig")),
        *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "String")),
    }
)
"""Classes of a configuration. Any other class in a file is reported."""


@dataclass(frozen=True)
class LightningCheckpoint:
    """Content of a published checkpoint, as plain data.

    Attributes:
        path: The file.
        kind: Kind of the network.
        config: Configuration, with unresolved interpolations.
        last: Weights and buffers of the network, by the names of `state_dict`.
        averaged: The same with moving averages of the parameters; None if there are none, as for classifiers.
        tokenizer: Stand-in for the pickled tokenizer, None if there is none.
        step: Number of training steps.
        unread: Parts of the file that were not understood.
    """

    path: Path
    kind: Kind
    config: dict[str, Any]
    last: dict[str, Tensor]
    averaged: dict[str, Tensor] | None
    tokenizer: Inert | None
    step: int
    unread: tuple[str, ...]


def read_lightning(path: str | Path) -> LightningCheckpoint:
    """Read a `.ckpt` of the code published with arXiv 2412.10193 or 2406.07524, without running any of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file, is damaged, or holds another kind of model.
    """
    path = Path(path)
    content, names = load_inert(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in state.items()
    ):
        raise ValueError(f"Expected a checkpoint of Lightning in {path}: it has no `state_dict` of tensors.")
    kind = next((kind for kind, prefix in PREFIXES.items() if any(name.startswith(prefix) for name in state)), None)
    if kind is None:
        prefixes = " or ".join(f"`{prefix}`" for prefix in PREFIXES.values())
        raise ValueError(f"Expected weights under {prefixes} in {path}, as the published code names them: it has none.")
    last = {name: weight for name, weight in state.items() if name.startswith(PREFIXES[kind])}
    arguments = content.get("hyper_parameters")
    arguments = arguments if isinstance(arguments, dict) else {}
    try:
        config = plain(arguments.get("config"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"The configuration in {path} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(
            f"Expected `hyper_parameters.config` in {path}, as the published code writes it: it has none. Of a run of "
            "ours name the run's folder."
        )
    others = [name for name in state if name not in last and not name.startswith(UNTOLD)]
    tokenizer = arguments.get("tokenizer")
    return LightningCheckpoint(
        path,
        kind,
        config,
        last,
        _averaged(content.get("ema"), state, last, path) if kind == "generator" else None,
        tokenizer if isinstance(tokenizer, Inert) else None,
        step if isinstance(step := content.get("global_step"), int) else 0,
        tuple(f"the weight {name}" for name in others) + tuple(f"objects of {name}" for name in sorted(names - READ)),
    )


def plain(node: Any) -> Any:
    """Return a configuration as dictionaries, lists and values; objects of other classes become None.

    Raises:
        ValueError: If a node has no content.
    """
    if isinstance(node, Inert):
        if node.path not in READ:
            return None
        if not isinstance(node.state, dict) or not {"_content", "_val"} & node.state.keys():
            raise ValueError(f"an object of {node.path} is without content")
        return plain(node.state["_content"] if "_content" in node.state else node.state["_val"])
    if isinstance(node, Mapping):
        return {name: plain(child) for name, child in node.items() if isinstance(name, str)}
    if isinstance(node, list | tuple):
        return [plain(child) for child in node]
    return node


def _averaged(
    ema: Any, state: Mapping[str, Tensor], last: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor] | None:
    """Return the averages by name, from a list in the order of the parameters of network and noise.

    Raises:
        ValueError: If they do not fit the parameters.
    """
    if ema is None:
        return None
    shadows = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadows, list) or not all(isinstance(shadow, Tensor) for shadow in shadows):
        raise ValueError(f"Expected a list of tensors as `ema.shadow_params` in {path}: pass `weights='last'`.")
    names = [name for name in last if not name.endswith(BUFFERS)]
    names += [name for name in state if name.startswith("noise.")]
    # A parameter of two names lies in one place of the file, and is averaged once.
    first: dict[tuple[Any, ...], str] = {}
    known_as = {name: first.setdefault(_place(state[name]), name) for name in names}
    parameters = list(first.values())
    if len(shadows) != len(parameters):
        raise ValueError(
            f"Expected as many averages as parameters in {path}, got {len(shadows)} and {len(parameters)}: they cannot "
            "be matched; pass `weights='last'`."
        )
    for name, shadow in zip(parameters, shadows, strict=True):
        if shadow.shape != state[name].shape:
            raise ValueError(
                f"Expected the average of {name} in {path} to have its shape {tuple(state[name].shape)}, got "
                f"{tuple(shadow.shape)}: pass `weights='last'`."
            )
    found = dict(zip(parameters, shadows, strict=True))
    return {name: found[known_as[name]] if name in known_as else weight for name, weight in last.items()}


def _place(weight: Tensor) -> tuple[Any, ...]:
    return weight.untyped_storage().data_ptr(), weight.storage_offset(), weight.shape, weight.stride()
