import pytest

pytest.importorskip("rdkit")

from discrete_diffusion.eval import CountedOracle, OracleBudgetError, auc_top_k


def test_molecules_are_evaluated_once() -> None:
    seen: list[str] = []

    def function(smiles: str) -> float:
        seen.append(smiles)
        return len(smiles)

    oracle = CountedOracle(function, budget=2)
    assert [oracle(one) for one in ("OCC", "CCO", "C1CC", "", "C(O)C")] == [3.0, 3.0, 0.0, 0.0, 3.0]
    assert seen == ["CCO"]
    assert oracle.calls == 1
    assert oracle("C") == 1.0
    assert oracle.scores == [3.0, 1.0]
    assert oracle.values == {"CCO": 3.0, "C": 1.0}


def test_budget() -> None:
    oracle = CountedOracle(len, budget=1, invalid=-1.0)
    assert oracle("CC") == 2.0
    with pytest.raises(OracleBudgetError, match=r"The budget of 1 oracle calls is spent\."):
        oracle("CCC")
    assert (oracle("CC"), oracle("C1"), oracle.calls) == (2.0, -1.0, 1)
    with pytest.raises(ValueError, match="`budget` >= 1, got 0"):
        CountedOracle(len, budget=0)


def test_a_failed_call_is_not_counted() -> None:
    oracle = CountedOracle(lambda smiles: 1 / (smiles != "CC"), budget=1)
    with pytest.raises(ZeroDivisionError):
        oracle("CC")
    assert oracle.calls == 0
    assert oracle("C") == 1.0


# Means of the 2 best after 1, 2, 3 and 4 calls: 0.2, 0.4, 0.5 and 0.8.
SCORES = [0.2, 0.6, 0.4, 1.0]


@pytest.mark.parametrize(
    ("budget", "every", "area"),
    [
        (4, 1, 0.1 + 0.3 + 0.45 + 0.65),
        (6, 1, 0.1 + 0.3 + 0.45 + 0.65 + 2 * 0.8),  # stopped 2 calls early
        (6, 2, 2 * 0.2 + 2 * 0.6 + 2 * 0.8),  # points at 0, 2 and 4
        (6, 3, 3 * 0.25 + 0.65 + 2 * 0.8),  # points at 0, 3 and 4
        (6, 100, 4 * 0.4 + 2 * 0.8),
        (3, 1, 0.1 + 0.3 + 0.45),  # the last call is beyond the budget
    ],
)
def test_area(budget: int, every: int, area: float) -> None:
    assert auc_top_k(SCORES, 2, budget=budget, every=every) == pytest.approx(area / budget)


def test_constant_scores_and_none() -> None:
    assert auc_top_k([0.5] * 1000, budget=1000) == pytest.approx(0.5 * (1 - 0.05))  # the first 100 calls rise from 0
    assert auc_top_k([], budget=10) == 0.0
    assert auc_top_k(iter([1.0]), budget=1, every=1) == 0.5
    for arguments in ({"k": 0, "budget": 1}, {"budget": 0}, {"budget": 1, "every": 0}):
        with pytest.raises(ValueError, match="`k`, `budget` and `every` >= 1"):
            auc_top_k(SCORES, **arguments)
