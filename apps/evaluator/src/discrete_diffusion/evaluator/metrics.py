"""Interface of metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import describe
from discrete_diffusion.evaluator.point import Point

Number = float | int | None


@dataclass(frozen=True)
class Outcome:
    """Results of the samples of one condition and seed.

    Attributes:
        numbers: Columns of results.csv.
        samples: Rows of the file of samples.
        novel: Novel samples, each once, in the order in which they were drawn.
        values: Property of each novel sample.
    """

    numbers: Mapping[str, Number]
    samples: Sequence[Mapping[str, Any]]
    novel: Sequence[str]
    values: Sequence[float]


@dataclass(frozen=True)
class Run:
    """Outcome of one condition and seed."""

    condition: Point
    seed: int
    outcome: Outcome


class Metrics(Protocol):
    """Comparison of samples with training data, and its pictures.

    Attributes:
        noun: Plural noun for the samples.
        property: Function from a string that `accepts` takes to a number.
        property_name: Name of the property.
        shown: Columns of the printed table: the count in `numbers`, and its heading.
        training: Statistics of the property on the training data, from `described`.
        illustrate: Function from a string and a size in pixels to a picture, or None.
    """

    noun: str
    property: Callable[[str], float]
    property_name: str
    shown: Mapping[str, str]
    training: Mapping[str, Number]
    illustrate: Callable[..., Any] | None

    def __call__(self, strings: Sequence[str], wanted: Sequence[int] | None = None) -> Outcome:
        """Compare samples with the training data.

        Args:
            strings: The samples.
            wanted: Requested class of each sample, or None. It changes no column's name.
        """
        ...

    def accepts(self, string: str) -> bool:
        """Return whether the property is defined for a string."""
        ...

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Write pictures of all runs and of `shown` samples of the chosen condition; return their paths."""
        ...


def described(values: Sequence[float]) -> dict[str, Number]:
    """Return mean, median, quartiles, 90th percentile and standard deviation; None without values."""
    told = describe(values)
    defined = [value for value in values if not np.isnan(value)]
    return {
        "mean": told.mean,
        "median": told.median,
        "lower_quartile": told.lower_quartile,
        "upper_quartile": told.upper_quartile,
        "p90": float(np.percentile(defined, 90)) if defined else None,
        "std": float(np.std(defined)) if defined else None,
    }


def build_metrics(config: DictConfig, kind: str, data: SequenceData) -> Metrics:
    """Return the metrics that `config` names, or those for this kind of data.

    Raises:
        ValueError: If `config` names none and there are none for `kind`.
    """
    if "_target_" not in config:
        path = Path(__file__).parent / "config" / "metrics" / f"{kind}.yaml"
        if not path.is_file():
            raise ValueError(f"The data are of the kind {kind!r}, which has no metrics of its own: choose `metrics=`.")
        config = OmegaConf.merge(OmegaConf.load(path), config)  # type: ignore[assignment]
    settings: Any = OmegaConf.to_container(config, resolve=True)
    if (settings.get("property") or {}).get("_target_", "") is None:
        settings["property"] = None
    return instantiate(settings)(data=data)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, also of a partial one."""
    function = getattr(function, "func", function)
    return getattr(function, "__name__", type(function).__name__)
