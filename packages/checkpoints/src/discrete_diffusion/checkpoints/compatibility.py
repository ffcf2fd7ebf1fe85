"""What of a generator a classifier depends on, and how a difference is told."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.storage import fingerprint
from discrete_diffusion.processes import Process

if TYPE_CHECKING:
    from discrete_diffusion.checkpoints.checkpoint import Checkpoint

# what of a generator each kind depends on, in the order in which differences are told
NOISE = ("process", "schedule", "noise")
COMPARED = {
    "noisy": (*NOISE, "tokenizer", "time_conditioning", "length"),
    "prefix": ("process", "tokenizer", "length"),
    "hidden": (*NOISE, "tokenizer", "time_conditioning", "length", "weights"),
    "clean": ("tokenizer", "length"),
}
KNOWN = {name for names in COMPARED.values() for name in names}
HASHED = {"tokenizer": "the vocabulary", "weights": "the weights", "noise": "the noise law"}


def describe_generator(generator: "Checkpoint") -> dict[str, Any]:
    """What of a generator a classifier depends on, as JSON can hold it."""
    process = getattr(generator.denoiser(), "process", None)
    return {
        "process": None if process is None else type(process).__name__,
        "schedule": None if process is None else repr(process.schedule),
        "noise": None if process is None else _noise(process),
        "tokenizer": _vocabulary(generator.tokenizer),
        "time_conditioning": bool(getattr(generator.network, "time_conditioning", True)),
        "length": generator.length,
        "weights": fingerprint(generator.network.state_dict()),
    }


def difference(kind: str, trained: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """The first thing that a classifier of this kind depends on and that differs, None if nothing does.

    Args:
        trained: what `describe_generator` said of the generator that the classifier was trained for.
        found: what it says of the one that the classifier is to steer.
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
