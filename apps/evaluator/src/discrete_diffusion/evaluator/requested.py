"""Requested values of a conditional model, in place of a class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import FittedCategoryLabel, FittedValueLabel
from discrete_diffusion.evaluator.methods import read_methods


@dataclass(frozen=True)
class RequestedValues(FittedCategoryLabel):
    """Label of a model with requested numbers: the only class is the request.

    Attributes:
        numbers: Requested number of each column that is not left free.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)


def requesting(checkpoint: Checkpoint, config: DictConfig) -> Checkpoint:
    """Return the checkpoint with the numbers in `label` as its only class; a model without numbers stays as it is.

    Raises:
        ValueError: If `label` does not fit the numbers of the model, or is missing and guidance needs it.
    """
    values = checkpoint.values
    if values is None:
        return checkpoint
    if config.get("data_labels"):
        raise ValueError("Expected no `data_labels` for a model that is conditional on numbers.")
    if config.label is None:
        guided = any(config.get(name) is not None for name in ("gamma", "gammas"))
        if guided and any(method.needs_labels for method in read_methods(config.guidance).values()):
            raise ValueError(f"Expected the numbers to steer toward in `label`: {_example(values)}.")
        return checkpoint
    target: Any = config.label
    if isinstance(target, DictConfig | ListConfig):
        target = OmegaConf.to_container(target)
    try:
        requested = checkpoint.requesting(target)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')} in `label`: {_example(values)}.") from error
    if not isinstance(target, Mapping):
        each = target if isinstance(target, Sequence) else [target]
        target = dict(zip(values.columns, each, strict=True))
    numbers = {column: float(target[column]) for column in values.columns if target.get(column) is not None}
    name = ", ".join(f"{column} = {number:g}" for column, number in numbers.items())
    return replace(requested, label=RequestedValues(values.column, (name,), numbers))


@dataclass(frozen=True)
class RequestedRange:
    """Values of a column that guidance steers to.

    Attributes:
        column: The column.
        low: Lower end, or -inf.
        high: Upper end, or inf; that of a single value is the value.
    """

    column: str
    low: float
    high: float


def intersection(ranges: Iterable[RequestedRange]) -> tuple[float, float] | None:
    """Return the values that are in all ranges, or None if there are none, or no range."""
    found = list(ranges)
    low, high = max((one.low for one in found), default=1.0), min((one.high for one in found), default=0.0)
    return (low, high) if low <= high else None


def requested_number(checkpoint: Checkpoint, name: str) -> float | None:
    """Return the requested number of a property, or None."""
    return checkpoint.label.numbers.get(name) if isinstance(checkpoint.label, RequestedValues) else None


def steers_property(checkpoint: Checkpoint, name: str) -> bool:
    """Return whether the property may be what guidance changes: that of the label, or any without a label."""
    return checkpoint.label is None or name in checkpoint.label.column.split(", ")


def request_error(requested: float | None, found: Sequence[float]) -> dict[str, float | None]:
    """Return the mean distance of a property from the requested number, as a column of results.csv, if there is one."""
    if requested is None:
        return {}
    return {"request_error": fmean(abs(one - requested) for one in found) if found else None}


def _example(values: FittedValueLabel) -> str:
    numbers = ", ".join(f"{mean + std:.3g}" for mean, std in zip(values.means, values.stds, strict=True))
    return f"label=[{numbers}] or 'label={{{values.columns[0]}: {values.means[0] + values.stds[0]:.3g}}}'"
