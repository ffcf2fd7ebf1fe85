"""What the evaluator asks of a metric, and what every metric shares."""

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
    """What became of the samples of one condition and seed.

    Attributes:
        numbers: the columns of results.csv.
        samples: the rows of the samples' own file.
        novel: the novel ones, each once, in the order in which they were drawn.
        values: the property of each of `novel`.
    """

    numbers: Mapping[str, Number]
    samples: Sequence[Mapping[str, Any]]
    novel: Sequence[str]
    values: Sequence[float]


@dataclass(frozen=True)
class Run:
    """The outcome of one condition and seed."""

    condition: Point
    seed: int
    outcome: Outcome


class Metrics(Protocol):
    """Compares samples with the training data it was made for, and draws what can be drawn of them.

    Attributes:
        noun: what samples are.
        property: what each sample is measured by, of a string that `accepts` takes.
        property_name: its name.
        shown: columns of the printed table: the count in `numbers`, and its heading.
        training: the columns `described` gives of the training data.
        illustrate: from a string and a size in pixels to a picture of it, or None.
    """

    noun: str
    property: Callable[[str], float]
    property_name: str
    shown: Mapping[str, str]
    training: Mapping[str, Number]
    illustrate: Callable[..., Any] | None

    def __call__(self, strings: Sequence[str], wanted: Sequence[int] | None = None) -> Outcome:
        """Compare; `wanted` is the class that was asked for, of each, where one was. It changes no column's name."""
        ...

    def accepts(self, string: str) -> bool:
        """Whether a string is one that the property is asked of."""
        ...

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Write pictures of its own, of all runs and of `shown` samples of the chosen condition; return their paths."""
        ...


def described(values: Sequence[float]) -> dict[str, Number]:
    """Mean, median, quartiles, 90th percentile and standard deviation; None where there are no values."""
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
    """The metrics that `config` names, or those of data of this kind, for the training rows of `data`.

    Raises:
        ValueError: if it names none, and there are none for `kind`.
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
    """A function's name, through partial application."""
    function = getattr(function, "func", function)
    return getattr(function, "__name__", type(function).__name__)
