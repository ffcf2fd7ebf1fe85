"""Checkpoints of classifiers.

config.json          kind, network, process and other properties of the generator, which must not change
model.safetensors    the network's weights
label.json           the classes; absent for regressors
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.compatibility import COMPARED, KNOWN, Generator, describe_generator, difference
from discrete_diffusion.checkpoints.errors import ClassifierMismatchError, MissingClassifierError
from discrete_diffusion.checkpoints.folders import locate
from discrete_diffusion.checkpoints.networks import (
    build_network,
    check_integers,
    expect_finite,
    mismatch,
    shapes_of,
    stored_shapes,
)
from discrete_diffusion.checkpoints.storage import (
    expect_described,
    expect_flags,
    expect_one_value,
    expect_unchanged,
    fingerprint,
    read_config,
    read_label,
    unreadable,
    whole,
    write_config,
    write_weights,
)
from discrete_diffusion.datasets import FittedValueLabel, Label, save_label
from discrete_diffusion.guidance.likelihoods import (
    ClassLikelihood,
    GaussianAbove,
    GaussianBetween,
    GaussianTarget,
    Not,
)
from discrete_diffusion.processes import Classifier, NetworkTraits, Regressor

ENTRIES: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "network": dict,
    "process": (dict, type(None)),
    "quantity": (dict, type(None)),
    "generator": dict,
}
Predictor = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ClassifierCheckpoint:
    """Trained classifier or regressor, with the properties of its generator.

    Attributes:
        config: `network`, as a target; `process` of the generator, None if the classifier's input is sigma = 0;
            `quantity` that a regressor predicts; `generator`, from `describe_generator`.
        network: The network.
        label: The classes, None for a regressor.
        kind: "noisy", "prefix", "hidden" or "clean".
    """

    config: dict[str, Any]
    network: nn.Module
    label: Label | None
    kind: str

    def predictor(self, network: Predictor | None = None) -> Predictor:
        """Return the function from (x, t) to log p(y | x_t), (b, classes), or mean and log standard deviation, (b, 2).

        Its input x depends on the kind: noisy ids or one-hots, a prefix, hidden states, or clean ids. A regressor's
        outputs are in units of the column.

        Args:
            network: Function that wraps the network, such as a counter of evaluations.
        """
        process = None if self.config["process"] is None else build(self.config["process"])
        network = network or self.network
        if self.label is not None:
            return Classifier(process, network)
        quantity = self.config["quantity"]
        return _InUnits(Regressor(process, network), quantity["center"], quantity["scale"])

    def likelihood(
        self,
        target: float | int | None = None,
        *,
        negate: bool = False,
        threshold: float | Sequence[float] | None = None,
        network: Predictor | None = None,
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function from (x, t) to the log-likelihood of one condition, (b,), for guidance.

        Args:
            target: Target class, by default the last; for a regressor, the target value.
            negate: Whether guidance steers away from the condition.
            threshold: For a regressor, the value to exceed, or with `negate` to stay below. Two values are the
                ends of a range to be in, or with `negate` outside of.
            network: Function that wraps the network, such as a counter of evaluations.

        Raises:
            ValueError: If there is no such class, not exactly one of target and threshold for a regressor, or no range.
        """
        predictor = self.predictor(network)
        if self.label is None:
            if (target is None) == (threshold is None):
                column = self.config["quantity"]["column"]
                raise ValueError(f"Expected either a `target` value or a `threshold` for a regressor of {column!r}.")
            if isinstance(threshold, Sequence):
                if len(threshold) != 2 or not threshold[0] < threshold[1]:
                    raise ValueError(f"Expected a value or [low, high] as `threshold`, got {list(threshold)}.")
                between = GaussianBetween(predictor, *map(float, threshold))
                return Not(between) if negate else between
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

    def matches(self, generator: Generator) -> None:
        """Check that the classifier may steer, or judge, a generator.

        Raises:
            ClassifierMismatchError: If it may not, with the first property that differs.
        """
        problem = difference(self.kind, self.config["generator"], describe_generator(generator))
        if problem is not None:
            raise ClassifierMismatchError(f"{problem}: it needs a {self.kind} classifier of its own.")

    def save(self, directory: str | Path) -> Path:
        """Write the classifier, completely or not at all; return the folder.

        Raises:
            ValueError: If a weight is not finite. What was in the directory before then stays.
        """
        directory = Path(directory)
        expect_finite(self.network, f"the classifier for {directory}")
        with whole(directory) as partial:
            write_weights(partial, self.network.state_dict())
            if self.label is not None:
                save_label(self.label, partial / "label.json")
            write_config(partial, {"kind": self.kind, **self.config})
        return directory


@dataclass(frozen=True)
class _InUnits:
    regressor: Predictor
    center: float
    scale: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return in_units(self.regressor(x, t), center=self.center, scale=self.scale)


def load_classifier(directory: str | Path) -> ClassifierCheckpoint:
    """Read a classifier, or the classifier of a run, on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: If there is none.
        UntrustedTargetError: If it names code outside the closed lists of `discrete_diffusion.checkpoints.TARGETS`.
        ValueError: If its parts do not belong together, a file has changed since it was saved, or a weight is not
            finite.
    """  # noqa: DOC501 (`unreadable` returns a ValueError)
    directory = locate(directory, "classifier")
    config = read_config(directory, what="classifier", entries=ENTRIES, trust_remote_code=False)
    kind, where = config.pop("kind"), directory / "config.json"
    if kind not in COMPARED or not set(config["generator"]) >= KNOWN:
        raise ValueError(f"{where} is not whole: train the classifier again with this version.")
    expect_described(config, ["network"] if config["process"] is None else ["network", "process"], where=where)
    expect_flags(config, where=where)
    expect_one_value([config["network"], config["process"]], "vocab_size", where=where)
    # A hidden classifier may belong to a left-to-right generator, which has no process.
    noisy = kind == "noisy" or (kind == "hidden" and config["generator"].get("process") is not None)
    if noisy != (config["process"] is not None):
        raise ValueError(f"Expected {'a' if config['process'] is None else 'no'} `process` for {kind} in {where}.")
    try:
        file = directory / "model.safetensors"
        network = build_network(config["network"], stored_shapes(file))
        label = read_label(directory / "label.json") if (directory / "label.json").is_file() else None
        weights = load_file(file)
        if isinstance(label, FittedValueLabel):
            raise ValueError("expected classes in label.json, got numbers")
        outputs = 2 if label is None else label.num_classes
        if label is None:
            _expect_quantity(config["quantity"])
        elif config["quantity"] is not None:
            raise ValueError("expected no `quantity` beside label.json")
        if config["process"] is not None:
            check_integers(config["process"])
            build(config["process"])
    except Exception as error:
        raise unreadable("classifier", directory, error) from error
    problem = mismatch(shapes_of(network.state_dict()), shapes_of(weights))
    has = NetworkTraits.of(network).num_outputs
    if problem is None and has != outputs:
        needed = "a regressor has 2" if label is None else f"label.json has {outputs} classes"
        problem = f"{needed} and the network {has} outputs"
    if problem is not None:
        raise ValueError(f"The parts of {directory} do not belong together: {problem}.")
    network.load_state_dict(weights)
    expect_unchanged(directory)
    expect_finite(network, directory)
    return ClassifierCheckpoint(config, network, label, kind)


def _expect_quantity(quantity: Any) -> None:
    numbers = [quantity.get(name) for name in ("center", "scale")] if isinstance(quantity, dict) else [None]
    if not all(isinstance(number, int | float) for number in numbers) or not isinstance(quantity.get("column"), str):
        raise ValueError(f"expected the column, center and scale of a regressor as `quantity`, got {quantity!r:.80}")


def newest_classifier(generator_folder: str | Path, kind: str, root: str | Path = "outputs") -> Path:
    """Return the generator's own classifier of a kind, or else the newest one for it under `root`.

    If it has several, the first by name is returned. A generator is identified by its weights.

    Raises:
        MissingClassifierError: If there is none.
    """
    folder = locate(generator_folder)
    for config in sorted(folder.glob("classifiers/*/config.json")):
        if json.loads(config.read_text(encoding="utf-8")).get("kind") == kind:
            return config.parent
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
        raise MissingClassifierError(f"No {kind} classifier of {folder} under {root}.")
    return max(found)[1]


def in_units(outputs: Tensor, *, center: float, scale: float) -> Tensor:
    """Return mean and log standard deviation of a number, (..., 2), from those of (number - center) / scale."""
    mean, log_std = outputs.unbind(-1)
    return torch.stack([center + scale * mean, log_std + math.log(scale)], -1)
