"""A classifier's folder: what it was trained to tell, for which generator, and its weights.

config.json          kind, network, the generator's process and what else of the generator must stay the same
model.safetensors    the network's weights
label.json           the classes; absent for regressors
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets import Label, load_label, save_label
from discrete_diffusion.guidance.likelihoods import ClassLikelihood, GaussianAbove, GaussianTarget, Not
from discrete_diffusion.processes import Classifier, Process, Regressor
from discrete_diffusion.trainer.checkpoint import Checkpoint
from discrete_diffusion.trainer.folders import locate
from discrete_diffusion.trainer.storage import fingerprint, mismatch, read_config, unreadable, whole, write_config
from discrete_diffusion.trainer.targets import Quantity

# what of a generator each kind depends on, in the order in which differences are told
NOISE = ("process", "schedule", "noise")
COMPARED = {
    "noisy": (*NOISE, "tokenizer", "time_conditioning", "length"),
    "prefix": ("process", "tokenizer", "length"),
    "hidden": (*NOISE, "tokenizer", "time_conditioning", "length", "weights"),
    "clean": ("tokenizer", "length"),
}
HASHED = {"tokenizer": "the vocabulary", "weights": "the weights", "noise": "the noise law"}

Predictor = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ClassifierCheckpoint:
    """A trained classifier, or regressor, with everything that must match it.

    Attributes:
        config: `network`, as a Hydra target; `process`, the generator's, None where the classifier is fed sigma = 0;
            `quantity`, what a regressor tells; `generator`, what `describe_generator` says.
        network: the classifier itself.
        label: the classes, None for a regressor.
        kind: "noisy", "prefix", "hidden" or "clean".
    """

    config: dict[str, Any]
    network: nn.Module
    label: Label | None
    kind: str

    def predictor(self, network: Predictor | None = None) -> Predictor:
        """`(x, t)` -> log p(y | x_t) (b, classes), or mean and log standard deviation (b, 2) in the column's units.

        x is what the kind says: noisy ids or one-hots, a prefix, hidden states, or clean ids.

        Args:
            network: a function put around the network, such as one that counts.
        """
        process = None if self.config["process"] is None else instantiate(self.config["process"])
        network = network or self.network
        if self.label is not None:
            return Classifier(process, network)
        return _InUnits(Regressor(process, network), Quantity(**self.config["quantity"]))

    def likelihood(
        self,
        target: float | int | None = None,
        *,
        negate: bool = False,
        threshold: float | None = None,
        network: Predictor | None = None,
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """`(x, t)` -> log p of one condition, (b,): what guidance steers by.

        Args:
            target: the class that is wanted, the last if not given; of a regressor the value that is wanted.
            negate: the condition is one to keep away from.
            threshold: of a regressor, what is to be exceeded; with `negate`, what is to be stayed below.
            network: a function put around the network, such as one that counts.

        Raises:
            ValueError: if there is no such class, or a regressor is told neither value nor threshold, or both.
        """
        predictor = self.predictor(network)
        if self.label is None:
            if (target is None) == (threshold is None):
                column = self.config["quantity"]["column"]
                raise ValueError(f"Expected either a `target` value or a `threshold` for a regressor of {column!r}.")
            if threshold is not None:
                return GaussianAbove(predictor, float(threshold), below=negate)
            if negate:
                raise ValueError("Expected no `negate` with a `target` value of a regressor: give it a `threshold`.")
            assert target is not None
            return GaussianTarget(predictor, float(target))
        if threshold is not None:
            raise ValueError("Expected no `threshold` for a classifier: it has classes, and a regressor has numbers.")
        names = self.label.class_names
        chosen = len(names) - 1 if target is None else target
        if not isinstance(chosen, int) or not 0 <= chosen < len(names):
            named = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
            raise ValueError(f"Expected `target` to be one of {named}, got {target}.")
        likelihood = ClassLikelihood(predictor, chosen)
        return Not(likelihood) if negate else likelihood

    def matches(self, generator: Checkpoint) -> None:
        """Nothing, if the classifier may steer, or judge, this generator.

        Raises:
            ValueError: names the first thing that differs.
        """
        trained, found = self.config["generator"], describe_generator(generator)
        for name in COMPARED[self.kind]:
            if trained[name] != found[name]:
                raise ValueError(
                    f"The classifier was trained with {_words(name, trained[name])}, and this generator has "
                    f"{_words(name, found[name])}: train one with `uv run trainer task={self.kind}_classifier "
                    "generator=RUN`."
                )

    def save(self, directory: str | Path) -> Path:
        """Write the classifier; the directory appears whole or not at all."""
        directory = Path(directory)
        with whole(directory) as partial:
            weights = {name: weight.contiguous().cpu() for name, weight in self.network.state_dict().items()}
            save_file(weights, partial / "model.safetensors")
            if self.label is not None:
                save_label(self.label, partial / "label.json")
            write_config(partial, {"kind": self.kind, **self.config})
        return directory


@dataclass(frozen=True)
class _InUnits:
    regressor: Predictor
    quantity: Quantity

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.quantity.in_units(self.regressor(x, t))


def describe_generator(generator: Checkpoint) -> dict[str, Any]:
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


def load_classifier(directory: str | Path) -> ClassifierCheckpoint:
    """Read a classifier that `ClassifierCheckpoint.save` wrote, or its run's folder, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its parts do not belong together, or it names code that is not ours.
    """
    directory = locate(directory, "classifier")
    config = read_config(
        directory,
        what="classifier",
        needed=("kind", "network", "process", "quantity", "generator"),
        trust_remote_code=False,
    )
    kind = config.pop("kind")
    known = {"process", "schedule", "noise", "tokenizer", "time_conditioning", "length", "weights"}
    if kind not in COMPARED or not known <= set(config["generator"]):
        raise ValueError(f"{directory / 'config.json'} is not whole: train the classifier again with this version.")
    try:
        network = instantiate(config["network"]).eval()
        label = load_label(directory / "label.json") if (directory / "label.json").is_file() else None
        weights = load_file(directory / "model.safetensors")
        told = 2 if label is None else label.num_classes
        if label is None:
            Quantity(**config["quantity"])
        if config["process"] is not None:
            instantiate(config["process"])
    except Exception as error:
        raise unreadable("classifier", directory, error) from error
    problem = mismatch(network.state_dict(), weights)
    if problem is None and network.num_outputs != told:
        said = "a regressor has 2" if label is None else f"label.json has {told} classes"
        problem = f"{said} and the network {network.num_outputs} outputs"
    if problem is not None:
        raise ValueError(f"The parts of {directory} do not belong together: {problem}.")
    network.load_state_dict(weights)
    return ClassifierCheckpoint(config, network, label, kind)


def newest_classifier(generator_folder: str | Path, kind: str, root: str | Path = "outputs") -> Path:
    """The classifier of this kind that was written last under `root` for the generator in this folder.

    A generator is known by its weights, wherever it lies now.

    Raises:
        FileNotFoundError: if there is none.
    """
    folder = locate(generator_folder)
    weights = fingerprint(load_file(folder / "model.safetensors"))
    found = []
    for path in Path(root).glob("**/classifier/config.json"):
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if config["kind"] == kind and config["generator"]["weights"] == weights:
                found.append((path.stat().st_mtime, path.parent))
        except (ValueError, KeyError, TypeError):
            continue  # of another format or damaged: somebody else's trouble
    if not found:
        raise FileNotFoundError(
            f"No {kind} classifier of {folder} under {root}: train one with "
            f"`uv run trainer task={kind}_classifier generator={folder}`, or name one."
        )
    return max(found)[1]


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
