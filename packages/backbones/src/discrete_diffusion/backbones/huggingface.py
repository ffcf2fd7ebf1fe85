"""Adapters from language models of transformers to networks."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn


def build_model(auto: str, config: Any, vocab_size: int | None) -> Any:
    """Build a model with random weights from a configuration, with a class such as AutoModelForMaskedLM.

    Args:
        auto: Name of the class.
        config: Configuration of transformers as a mapping, `model_type` included; or a model, which is returned.
        vocab_size: Size of the vocabulary; None keeps that of the model. The embedding table of a given model is
            truncated, or extended with random rows.

    Raises:
        ValueError: If `config` is not valid for the class, or `vocab_size` < 1.
    """
    if vocab_size is not None and vocab_size < 1:
        raise ValueError(f"Expected `vocab_size` >= 1 or None, got {vocab_size}.")
    if isinstance(config, nn.Module):
        return _resized(config, vocab_size)
    transformers = _transformers()
    settings = {**_plain(config), **({} if vocab_size is None else {"vocab_size": vocab_size})}
    model_type = settings.pop("model_type", None)
    try:
        described = transformers.AutoConfig.for_model(model_type, **settings)
        return getattr(transformers, auto).from_config(described, trust_remote_code=False)
    except Exception as error:
        # Architectures raise various exceptions for invalid configurations.
        raise ValueError(
            f"Expected a `config` for {auto}, got model_type={model_type}: {_first_line(error)}"
        ) from error


def load_model(auto: str, name_or_path: str, vocab_size: int | None, trust_remote_code: bool) -> Any:
    """Load a model with weights in float32, from a folder or from the Hugging Face hub.

    Raises:
        ValueError: If no model of this kind is found.
    """
    source = getattr(_transformers(), auto)
    try:
        model = source.from_pretrained(str(name_or_path), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Expected a model for {auto} at `name_or_path`, a folder or a name on the Hugging Face hub, got "
            f"{name_or_path}: {_first_line(error)}"
            + (" Pass `trust_remote_code=True` to run it." if "custom code" in str(error) else "")
        ) from error
    return _resized(model.float(), vocab_size)


def describe_model(model: Any) -> dict[str, Any]:
    """Return the configuration of a model in JSON types, without its origin."""
    described = json.loads(model.config.to_json_string(use_diff=False))
    return {name: value for name, value in described.items() if name != "_name_or_path"}


def is_foreign(model: Any) -> bool:
    """Return whether the model's code is outside transformers, so that its configuration alone cannot rebuild it."""
    return not type(model).__module__.startswith("transformers.")


def find_head(model: Any) -> tuple[str, ...] | None:
    """Return the names of the modules that map the last hidden state of the body to logits, in order.

    Return None if the composition of these modules does not reproduce the logits of the model.
    """
    body = model.base_model
    names = tuple(name for name, child in model.named_children() if child is not body)
    ids = torch.tensor([[0, 1]], device=model.device)
    try:
        with torch.no_grad():
            logits = apply_head(model, names, body(input_ids=ids)[0])
            return names if torch.equal(logits, model(input_ids=ids).logits) else None
    except Exception:
        # Architectures raise various exceptions if their modules cannot be composed.
        return None


def apply_head(model: Any, names: tuple[str, ...], hidden: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows v"]:
    """Return the logits of hidden states."""
    for name in names:
        hidden = getattr(model, name)(hidden)
    return hidden


def check_call(
    model: Any, tokens: Int[Tensor, "b k"] | Float[Tensor, "b k v"], y: Shaped[Tensor, "..."] | None, seen: int = 0
) -> None:
    """Check the arguments of a call.

    Raises:
        ValueError: If `y` is given, or if there are more tokens than the model has positions.
    """
    if y is not None:
        raise ValueError("Expected `y` to be None: language models of Hugging Face have no labels.")
    length, most = seen + tokens.shape[1], getattr(model.config, "max_position_embeddings", None)
    if most is not None and length > most:
        raise ValueError(f"Expected at most {most} tokens, the number of positions of the model, got {length}.")


def store_tied_weights_once(network: nn.Module) -> None:
    """Store each shared parameter under one name in the state dict, and restore the other names on loading.

    Safetensors files allow only one name per tensor.
    """
    network.register_state_dict_post_hook(_drop_tied)
    network.register_load_state_dict_pre_hook(_fill_tied)


def _drop_tied(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in _tied(module):
        state.pop(prefix + name, None)


def _fill_tied(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, first in _tied(module).items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])


def _tied(module: nn.Module) -> dict[str, str]:
    """Return the first name of every parameter that has another name, by that name."""
    first: dict[nn.Parameter, str] = {}
    repeated = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if first.setdefault(parameter, name) != name:
            repeated[name] = first[parameter]
    return repeated


def _resized(model: Any, vocab_size: int | None) -> Any:
    if vocab_size is not None and vocab_size != model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(vocab_size, mean_resizing=False)
    return model


def _plain(node: Any) -> Any:
    # Configurations may be other mappings and sequences than dict and list. Transformers writes infinity as
    # `__float__`.
    if isinstance(node, Mapping) and set(node) == {"__float__"}:
        return float(node["__float__"])
    if isinstance(node, Mapping):
        return {name: _plain(value) for name, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_plain(value) for value in node]
    return node


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "Expected the package transformers for a language model of Hugging Face: install "
            "`discrete-diffusion-backbones[huggingface]`."
        ) from error
    return transformers
