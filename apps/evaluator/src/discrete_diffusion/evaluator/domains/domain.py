"""Interface of a domain: everything in an evaluation that depends on the kind of data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import describe
from discrete_diffusion.evaluator.carried_data import CarriedData
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.user_function import UserFunction

Number = float | int | None
_EXAMPLES = 64


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

    @classmethod
    def of(
        cls,
        strings: Sequence[str],
        values: Mapping[str, float],
        novel: Sequence[str],
        numbers: Mapping[str, Number],
        columns: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> "Outcome":
        """Return the outcome of samples that may be invalid: their counts, `numbers`, and statistics of the property.

        Args:
            strings: Samples.
            values: Property of each distinct valid sample.
            novel: Distinct valid samples that are not in the training data.
            numbers: Further columns of results.csv.
            columns: Further columns of the file of samples: a value for each valid sample.
        """
        valid, fresh = [one for one in strings if one in values], set(novel)
        counts = {"valid": len(valid), "distinct": len(values), "novel": len(novel)}
        every: dict[str, Number] = {"generated": len(strings), **counts}
        every |= {f"{name}_fraction": count / len(strings) if strings else None for name, count in counts.items()}
        every |= numbers
        every |= {f"valid_property_{k}": v for k, v in described([values[one] for one in valid]).items()}
        every |= {f"novel_property_{k}": v for k, v in described([values[one] for one in novel]).items()}
        samples = [
            {"string": one, "valid": one in values, "novel": one in fresh, "property": values.get(one)}
            | {name: column.get(one) for name, column in columns.items()}
            for one in strings
        ]
        return cls(every, samples, novel, [values[one] for one in novel])


@dataclass(frozen=True)
class Run:
    """Outcome of one condition and seed."""

    condition: Point
    seed: int
    outcome: Outcome


class Domain(ABC):
    """A kind of data: comparison of samples with training data, pictures, and layout of the report.

    A domain takes the training data as `data=`. Everything that needs no data is an attribute of its class.

    Attributes:
        noun: Plural noun for the samples.
        layout: Layout of samples in the report.
        unit: Unit in which bits are reported: "token", "character", or "dimension".
        pictures: Caption of each file that `draw` writes, by its name without ending.
        checks_validity: Whether a string can be invalid.
        kinds: Kinds of data that the metrics mean something for, and every kind without metrics of its own; empty for
            all.
        property: Function from a string that `accepts` takes to a number.
        property_name: Name of the property.
        shown: Columns of the printed table: the count in `Outcome.numbers`, and its heading.
        training: Statistics of the property on the training data, from `described`.
        illustrate: Function from a string and a size in pixels to a picture, or None.
    """

    noun: str
    layout: ReportLayout = ReportLayout()
    unit: str = "token"
    pictures: Mapping[str, str] = MappingProxyType({})
    checks_validity: bool = False
    kinds: Collection[str] = ()
    property: Callable[[str], float]
    property_name: str
    shown: Mapping[str, str]
    training: Mapping[str, Number]
    illustrate: Callable[..., Any] | None = None

    @abstractmethod
    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare samples with the training data.

        Args:
            strings: Samples.
            requested: Requested class of each sample, or None. It changes no column's name.
        """

    @staticmethod
    def valid_form(string: str) -> str | None:
        """Return the canonical form of a string, None if it is invalid."""
        return string

    def accepts(self, string: str) -> bool:
        """Return whether the property is defined for a string."""
        return True

    def readable(self, string: str) -> str:
        """Return the string that functions of the user receive for a sample that `accepts` takes."""
        return string

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Write pictures of all runs and of `shown` samples of the chosen condition; return their paths."""
        return []


def described(values: Sequence[float]) -> dict[str, Number]:
    """Return mean, median, quartiles, 90th percentile and standard deviation; None without values."""
    summary = describe(values)
    defined = [value for value in values if not np.isnan(value)]
    return {
        "mean": summary.mean,
        "median": summary.median,
        "lower_quartile": summary.lower_quartile,
        "upper_quartile": summary.upper_quartile,
        "p90": float(np.percentile(defined, 90)) if defined else None,
        "std": float(np.std(defined)) if defined else None,
    }


def domain_class(kind: str) -> type[Domain]:
    """Return the domain of a kind of data, or `Domain` with its defaults if there is none."""
    path = _file(kind)
    return get_class(str(OmegaConf.load(path)._target_)) if path.is_file() else Domain


def build_domain(config: DictConfig, kind: str, data: SequenceData | CarriedData) -> Domain:
    """Return the domain that `config` names, or that of this kind of data.

    Raises:
        ValueError: If `config` names none and there is none for `kind`, or if it is for other strings than the data.
    """
    if "_target_" not in config:
        if not _file(kind).is_file():
            raise ValueError(f"The data are of the kind {kind!r}, which has no metrics of its own: choose `metrics=`.")
        config = OmegaConf.merge(OmegaConf.load(_file(kind)), config)  # type: ignore[assignment]
    settings: Any = OmegaConf.to_container(config, resolve=True)
    measured = settings.pop("property", None) or {}
    further: dict[str, Any] = {}
    if measured.get("_target_") is not None:
        function = instantiate(measured)
        name = settings.get("property_name") or name_of(function)
        further = {"property": UserFunction(function, f"property {name}", optional=False)}
        settings["property_name"] = name
    domain: Domain = instantiate(settings)(data=data, **further)
    if domain.kinds and kind not in domain.kinds and _file(kind).is_file():
        raise ValueError(
            f"Expected `metrics` for data of the kind {kind!r}, got those of {domain.noun}: leave out `metrics`, or "
            "set metrics=strings, which are for all strings."
        )
    if domain.checks_validity and isinstance(data, SequenceData):
        _expect_valid(domain, data, kind)
    return domain


def _expect_valid(domain: Domain, data: SequenceData, kind: str) -> None:
    strings = data.examples(_EXAMPLES).with_format(None)[data.column][:]
    if not any(domain.accepts(one) for one in strings):
        raise ValueError(
            f"Expected `metrics` for data of the kind {kind!r}, but none of {len(strings)} training strings, such as "
            f"{strings[0]!r:.60}, is valid for metrics of {domain.noun}."
        )


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, also of a partial one."""
    function = getattr(function, "func", function)
    return getattr(function, "__name__", type(function).__name__)


def _file(kind: str) -> Path:
    return Path(__file__).parents[1] / "config" / "metrics" / f"{kind}.yaml"
