"""Further properties of samples, as the user names them on the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from rdkit.Chem import Crippen, MolFromSmiles

from discrete_diffusion.evaluator.evaluate import evaluate

Configured = Callable[..., DictConfig]
MODULE = """
from rdkit.Chem import Crippen, MolFromSmiles


def log_p(smiles):
    return Crippen.MolLogP(MolFromSmiles(smiles))


def atoms(smiles, symbol="O"):
    count = sum(atom.GetSymbol() == symbol for atom in MolFromSmiles(smiles).GetAtoms())
    return count or None


def word(smiles):
    return "many"


def broken(smiles):
    raise KeyError("no such table")


def leave(smiles):
    raise SystemExit


def huge(smiles):
    return 10**400
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_properties.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("functions")
def test_each_property_is_a_column_of_samples_and_its_mean_one_of_results(
    configured: Configured, checkpoint: Callable[[str], Path], tmp_path: Path
):
    config = configured(
        f"checkpoint={checkpoint('udlm')}",
        f"output={tmp_path / 'out'}",
        "likelihood=false",
        "gammas=[inf]",
        "guidance=best_of_n",
        "guidance.best_of_n.method.n=2",
        "reward.function._target_=my_properties.atoms",
        "+reward.function.symbol=C",
        "properties={logP: my_properties.log_p, N: {_target_: my_properties.atoms, symbol: N}}",
    )
    folder = evaluate(config)
    assert folder is not None
    results = rows(folder / "results.csv")
    valid = 0
    for row, path in zip(results, sorted((folder / "samples").glob("*.csv")), strict=True):
        samples = [one for one in rows(path) if one["valid"] == "True"]
        valid += len(samples)
        molecules = [MolFromSmiles(one["string"]) for one in samples]
        expected = [Crippen.MolLogP(one) for one in molecules]
        assert [float(one["logP"]) for one in samples] == expected
        nitrogens = [sum(atom.GetSymbol() == "N" for atom in one.GetAtoms()) for one in molecules]
        assert [one["N"] for one in samples] == [str(float(n)) if n else "" for n in nitrogens]
        carbons = [sum(atom.GetSymbol() == "C" for atom in one.GetAtoms()) for one in molecules]
        assert [one["reward"] for one in samples] == [str(float(n)) if n else "" for n in carbons]
        if samples:
            assert float(row["mean_logP"]) == pytest.approx(sum(expected) / len(expected))
        assert all(one["logP"] == "" for one in rows(path) if one["valid"] == "False")
    assert valid > 0
    summary = json.loads((folder / "summary.json").read_text())["results"]
    assert {"mean_logP", "mean_N", "mean_reward"} <= summary[0].keys()


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("{x: my_properties.word}", "Expected the property x to return a number, got 'many' of"),
        ("{x: my_properties.broken}", "The property x failed on .*: 'no such table'"),
        ("{x: my_properties.leave}", "The property x failed on .*: SystemExit"),
        ("{x: my_properties.huge}", "Expected the property x to return a number, got 1000"),
        ("{5: my_properties.log_p}", "Expected names of `properties` of letters, digits and _ other than"),
        ("{valid: my_properties.log_p}", "Expected names of `properties` of letters, digits and _ other than"),
        ("{a b: my_properties.log_p}", "Expected names of `properties` of letters, digits and _ other than"),
        ("{x: my_properties.no_such}", "no_such"),
    ],
)
def test_a_property_that_fails_is_refused_before_sampling(
    setting: str, message: str, configured: Configured, checkpoint: Callable[[str], Path], tmp_path: Path
):
    config = configured(f"checkpoint={checkpoint('udlm')}", f"output={tmp_path / 'out'}", f"properties={setting}")
    with pytest.raises(Exception, match=message):
        evaluate(config)
    assert not (tmp_path / "out").exists()
