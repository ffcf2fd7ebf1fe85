"""Strings of any kind."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, described, name_of

KNOWN = 1_000_000
"""Largest number of training rows that samples are compared with: evenly spread, or the first of a stream."""


class Strings(Domain):
    """Novelty and a property of strings.

    Args:
        data: Data whose training rows count as known.
        property: Function from a string to a number; length in characters if None.
        property_name: Name of the property; that of the function if None.
    """

    noun = "strings"
    shown: Mapping[str, str] = MappingProxyType({"distinct": "distinct", "novel": "novel"})

    def __init__(
        self, data: SequenceData, property: Callable[[str], float] | None = None, property_name: str | None = None
    ) -> None:
        self.property = len if property is None else property
        self.property_name = property_name or ("length" if property is None else name_of(property))
        strings = data.examples(KNOWN).with_format(None)[data.column][:]
        self.known = frozenset(strings)
        self.training = described([float(self.property(one)) for one in strings])

    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data."""
        values = {one: float(self.property(one)) for one in dict.fromkeys(strings)}
        novel = [one for one in values if one not in self.known]
        numbers: dict[str, Number] = {"generated": len(strings), "distinct": len(values), "novel": len(novel)}
        numbers |= {f"{name}_fraction": numbers[name] / len(strings) for name in self.shown}  # type: ignore[operator]
        numbers |= {f"all_property_{k}": v for k, v in described([values[one] for one in strings]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described([values[one] for one in novel]).items()}
        samples = [{"string": one, "novel": one not in self.known, "property": values[one]} for one in strings]
        return Outcome(numbers, samples, novel, [values[one] for one in novel])
