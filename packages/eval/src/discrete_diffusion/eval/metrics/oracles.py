"""Oracle calls: a budget, and how soon an optimizer finds good molecules."""

import heapq
from collections.abc import Callable, Iterable

from discrete_diffusion.eval.metrics.molecules import canonical_smiles


class OracleBudgetError(RuntimeError):
    """The budget of oracle calls is spent."""


class CountedOracle:
    """Oracle that evaluates each molecule once and counts its evaluations.

    Molecules are told apart by their canonical SMILES, which is also what the function receives. Repeats and invalid
    strings are free, as in PMO (Gao et al., NeurIPS 2022; arXiv 2206.12411).

    Args:
        function: Function from a canonical SMILES to a number.
        budget: Number of molecules that may be evaluated.
        invalid: Score of an invalid string.

    Attributes:
        values: Score of each molecule by its canonical SMILES, in the order of evaluation.

    Raises:
        ValueError: If `budget` is below 1.
    """

    def __init__(self, function: Callable[[str], float], budget: int, invalid: float = 0.0) -> None:
        if budget < 1:
            raise ValueError(f"Expected `budget` >= 1, got {budget}.")
        self.function, self.budget, self.invalid = function, budget, invalid
        self.values: dict[str, float] = {}

    def __call__(self, smiles: str) -> float:
        """Return the score of a molecule.

        Args:
            smiles: Any string.

        Raises:
            OracleBudgetError: If the molecule is new and the budget is spent.
        """
        canonical = canonical_smiles(smiles)
        if canonical is None:
            return self.invalid
        if canonical not in self.values:
            if self.calls >= self.budget:
                raise OracleBudgetError(f"The budget of {self.budget} oracle calls is spent.")
            self.values[canonical] = float(self.function(canonical))
        return self.values[canonical]

    @property
    def calls(self) -> int:
        """Number of molecules that were evaluated."""
        return len(self.values)

    @property
    def scores(self) -> list[float]:
        """Scores of the molecules in the order of evaluation, for `auc_top_k`."""
        return list(self.values.values())


def auc_top_k(scores: Iterable[float], k: int = 10, *, budget: int, every: int = 100) -> float:
    """Return the area under the curve of the mean of the k best scores over oracle calls, divided by the budget.

        1 / B · (Σ_i (c_i - c_{i-1}) · (A(c_{i-1}) + A(c_i)) / 2 + (B - n) · A(n))

    where A(c) is the mean of the k best of the first c scores, or of all c if there are fewer, A(0) = 0, and c_i are
    the multiples of `every` below n, and n = min(number of scores, B) itself. A run that stops before its budget keeps
    its last value. This is the measure of PMO (Gao et al., NeurIPS 2022; arXiv 2206.12411) and its reference
    implementation, which evaluates the curve every 100 calls.

    Args:
        scores: Score of each oracle call in order; calls beyond the budget are not counted.
        k: Number of best scores.
        budget: Budget B of oracle calls.
        every: Number of calls between two points of the curve.

    Raises:
        ValueError: If `k`, `budget` or `every` is below 1.
    """
    if min(k, budget, every) < 1:
        raise ValueError(f"Expected `k`, `budget` and `every` >= 1, got {k}, {budget} and {every}.")
    counted = list(scores)[:budget]
    best: list[float] = []  # heap of the k best scores
    area = previous = 0.0
    start = 0
    for count, score in enumerate(counted, 1):
        if len(best) < k:
            heapq.heappush(best, score)
        else:
            heapq.heappushpop(best, score)
        if count % every == 0 or count == len(counted):
            mean = sum(best) / len(best)
            area += (count - start) * (previous + mean) / 2
            start, previous = count, mean
    return (area + (budget - len(counted)) * previous) / budget
