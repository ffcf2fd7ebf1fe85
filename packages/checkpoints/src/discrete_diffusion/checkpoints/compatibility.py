"""Compatibility of a classifier with a generator."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.storage import fingerprint
from discrete_diffusion.processes import NetworkTraits, Process


@runtime_checkable
class DiffusionDenoiser(Protocol):
    """Denoiser of a diffusion model, as opposed to an autoregressive one."""

    @property
    def process(self) -> Process:
        """The forward process."""
        ...


class Generator(Protocol):
    """Parts of a generator that a classifier may depend on."""

    @property
    def network(self) -> nn.Module:
        """The denoising network."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        ...

    @property
    def length(self) -> int:
        """Tokens in each sequence."""
        ...

    def denoiser(self) -> Any:
        """Return the denoiser."""
        ...


# Properties of the generator that each kind depends on, in the order in which they are compared.
NOISE = ("process", "schedule", "noise")
COMPARED = {
    "noisy": (*NOISE, "tokenizer", "time_conditioning", "length"),
    "prefix": ("process", "tokenizer", "length"),
    "hidden": (*NOISE, "tokenizer", "time_conditioning", "length", "weights"),
    "clean": ("tokenizer", "length"),
}
KNOWN = {name for names in COMPARED.values() for name in names}
HASHED = {"tokenizer": "the vocabulary", "weights": "the weights", "noise": "the noise distribution"}


def describe_generator(generator: Generator) -> dict[str, Any]:
    """Return the properties of a generator that classifiers depend on, as JSON values."""
    denoiser = generator.denoiser()
    process = denoiser.process if isinstance(denoiser, DiffusionDenoiser) else None
    return {
        "process": None if process is None else type(process).__name__,
        "schedule": None if process is None else repr(process.schedule),
        "noise": None if process is None else _noise(process),
        "tokenizer": _vocabulary(generator.tokenizer),
        "time_conditioning": NetworkTraits.of(generator.network).time_conditioning,
        "length": generator.length,
        "weights": fingerprint(generator.network.state_dict()),
    }


def difference(kind: str, trained: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Return a sentence about the first property that differs, or None if the classifier fits.

    Args:
        kind: Kind of the classifier.
        trained: Properties of the generator that the classifier was trained for, from `describe_generator`.
        found: Properties of the generator to steer.
    """
    for name in COMPARED[kind]:
        if trained[name] != found[name]:
            return (
                f"The classifier was trained with {_words(name, trained[name])}, and this generator has "
                f"{_words(name, found[name])}"
            )
    return None


def _words(name: str, value: Any) -> str:
    if value is None:
        return "no noise: it goes from left to right"
    if name == "time_conditioning":
        return f"time conditioning {'on' if value else 'off'}"
    if name == "length":
        return f"sequences of {value} tokens"
    if name in HASHED:
        return f"{HASHED[name]} {value:.8}"
    return f"the {name} {value}"


def _noise(process: Process) -> str:
    noise = process.log_noise(torch.zeros((), dtype=torch.float64))
    return sha256(noise.numpy().tobytes()).hexdigest()


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> str:
    return sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
