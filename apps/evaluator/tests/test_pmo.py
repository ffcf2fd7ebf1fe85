"""`evaluator benchmark`: optimizers under a budget of oracle calls."""

import csv
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.eval import PMO_TASKS, CountedOracle, auc_top_k, canonical_smiles, guacamol_score
from discrete_diffusion.evaluator import benchmark as module
from discrete_diffusion.evaluator.benchmark import NUMBERS, Run, benchmark, choose_optimizers, optimize, summarize
from discrete_diffusion.evaluator.optimizers import OPTIMIZERS, BestOfN, Genetic, GuidedSearch, Remask, has_mol_ga
from discrete_diffusion.guidance import SVDD, Particles

BUDGET = 18
HAS_GENETIC = pytest.mark.skipif(not has_mol_ga(), reason="mol_ga is not installed")
EACH = ["best_of_n", "remask", "particles", pytest.param("genetic", marks=HAS_GENETIC)]
"""One of each class: svdd differs from particles by its search alone."""


def configured(*overrides: str) -> DictConfig:
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        return compose("benchmark", overrides=[*overrides])


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    """The shipped model, with few steps."""
    shipped = load("qm9-udlm-small")
    shipped.config["model"]["sampler"]["steps"] = 6
    return shipped


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that are shorter than the budget of these tests."""
    small = {
        "best_of_n": BestOfN(samples=12),
        "remask": Remask(samples=12),
        "particles": GuidedSearch(partial(Particles, gamma=30.0, particles=3), samples=1),
        "svdd": GuidedSearch(partial(SVDD, gamma=math.inf, candidates=3), samples=1),
        "genetic": Genetic(offspring=8),
    }
    assert small.keys() == OPTIMIZERS.keys()
    monkeypatch.setattr(module, "OPTIMIZERS", small)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch, model: Checkpoint) -> None:
    monkeypatch.setattr(module, "load", lambda *args, **options: model)


def found(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in call.items() if name != "seconds"} for call in calls]


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize("name", EACH)
def test_a_run_that_is_stopped_twice_has_the_calls_of_one_that_is_not(
    name: str, model: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run("osimertinib_mpo", name, 1)
    whole = found(optimize(run, model, BUDGET, tmp_path / "whole"))
    assert [call["call"] for call in whole] == list(range(1, BUDGET + 1))
    assert len({call["round"] for call in whole}) > 2
    molecules = [call["smiles"] for call in whole]
    assert len(set(molecules)) == BUDGET
    assert molecules == [canonical_smiles(one) for one in molecules]
    assert [call["score"] for call in whole] == [guacamol_score(one, run.task) for one in molecules]

    evaluated: list[str] = []

    def stops(smiles: str, task: str) -> float:
        evaluated.append(smiles)
        if len(evaluated) in (BUDGET // 3, BUDGET):
            raise KeyboardInterrupt
        return guacamol_score(smiles, task)

    monkeypatch.setattr(module, "guacamol_score", stops)
    for _ in range(2):
        try:
            optimize(run, model, BUDGET, tmp_path / "stopped")
        except KeyboardInterrupt:
            continue
    assert found(optimize(run, model, BUDGET, tmp_path / "stopped")) == whole
    assert len(evaluated) > BUDGET


@pytest.mark.usefixtures("small_rounds")
def test_another_seed_gives_other_molecules(model: Checkpoint, tmp_path: Path):
    first, second = (optimize(Run("qed", "remask", seed), model, 12, tmp_path) for seed in (1, 2))
    assert {call["smiles"] for call in first} != {call["smiles"] for call in second}


class Spellings:
    """Optimizer that proposes one molecule in two spellings, an invalid string and, every third round, a new one."""

    needs_diffusion: ClassVar[bool] = False

    def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
        for string in ("OCC", "CCO", "C1CC", "C" * (1 + number // 3)):
            oracle(string)


def test_molecules_are_counted_by_their_canonical_form(
    model: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "OPTIMIZERS", {"spellings": Spellings()})
    calls = optimize(Run("qed", "spellings", 1), model, 10, tmp_path)
    assert [call["smiles"] for call in calls] == ["CCO", *("C" * n for n in range(1, 10))]
    assert [call["round"] for call in calls] == [0, 0, *range(3, 27, 3)]


def test_an_optimizer_without_new_molecules_ends_before_its_budget(
    model: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rounds: list[int] = []

    class Stuck(Spellings):
        def __call__(self, model: Checkpoint, oracle: CountedOracle, seed: int, number: int) -> None:
            rounds.append(number)
            oracle("CCO")

    monkeypatch.setattr(module, "OPTIMIZERS", {"stuck": Stuck()})
    run = Run("qed", "stuck", 1)
    calls = optimize(run, model, 10, tmp_path)
    assert [call["smiles"] for call in calls] == ["CCO"]
    assert rounds == list(range(1 + module.IDLE_ROUNDS))
    assert optimize(run, model, 10, tmp_path) == calls
    assert len(rounds) == 1 + module.IDLE_ROUNDS
    value = guacamol_score("CCO", "qed")
    assert module.result(run, calls, 10) == {
        "task": "qed",
        "optimizer": "stuck",
        "seed": 1,
        "auc_top10": pytest.approx(0.95 * value),
        **dict.fromkeys(("top1", "top10", "top100"), pytest.approx(value)),
        "calls": 1,
        "seconds": calls[0]["seconds"],
    }


@pytest.mark.usefixtures("few_steps", "small_rounds")
def test_the_command_resumes_and_writes_what_its_calls_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    overrides = [
        "checkpoint=qm9-udlm-small",
        "tasks=[qed,isomers_c7h8n2o2]",
        "optimizers=[best_of_n,svdd]",
        "budget=12",
        f"output={tmp_path / 'out'}",
    ]
    left = 30

    def stops(smiles: str, task: str) -> float:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return guacamol_score(smiles, task)

    with monkeypatch.context() as patch:
        patch.setattr(module, "guacamol_score", stops)
        with pytest.raises(KeyboardInterrupt):
            benchmark(configured(*overrides))
    assert "Stopped. 2 of 4 runs are in" in capsys.readouterr().out
    folder = benchmark(configured(*overrides))
    printed = capsys.readouterr().out
    assert "sum of 2 tasks" in printed
    assert "Published" not in printed
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["optimizer"]) for row in rows] == [
        (task, name) for task in ("qed", "isomers_c7h8n2o2") for name in ("best_of_n", "svdd")
    ]
    for row in rows:
        with (folder / "calls" / f"{row['task']}_{row['optimizer']}_seed-1.csv").open() as file:
            scores = [float(call["score"]) for call in csv.DictReader(file)]
        assert int(row["calls"]) == len(scores) == 12
        assert float(row["auc_top10"]) == auc_top_k(scores, 10, budget=12)
        assert float(row["top10"]) == pytest.approx(sum(sorted(scores)[-10:]) / 10)
        assert float(row["top1"]) == max(scores)
    content = json.loads((folder / "results.json").read_text())
    assert [row["task"] for row in content["summary"]] == ["qed"] * 2 + ["isomers_c7h8n2o2"] * 2 + ["sum"] * 2
    # Runs that are done are read and not repeated; another budget needs another folder.
    monkeypatch.setattr(module, "guacamol_score", None)
    benchmark(configured(*overrides))
    assert json.loads((folder / "results.json").read_text())["results"] == content["results"]
    with pytest.raises(FileExistsError, match="holds a benchmark with another `budget`, 12 instead of 30"):
        benchmark(configured(*overrides, "budget=30"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="Expected `output` to be a new folder, or that of a benchmark"):
        benchmark(configured(*overrides, f"output={tmp_path / 'other'}"))


def rows_of(tasks: dict[str, list[float]], optimizer: str = "remask") -> list[dict[str, Any]]:
    return [
        {"task": task, "optimizer": optimizer, "seed": seed, **dict.fromkeys(NUMBERS, value)}
        for task, values in tasks.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.usefixtures("few_steps", "small_rounds")
@pytest.mark.parametrize("optimizer", ["remask", pytest.param("genetic", marks=HAS_GENETIC)])
def test_the_first_molecules_come_from_a_file(tmp_path: Path, optimizer: str):
    atoms = "CNOSF"
    (tmp_path / "start.smi").write_text("".join(f"{one}CC{other}\n" for one in atoms for other in atoms))
    start = {canonical_smiles(line) for line in (tmp_path / "start.smi").read_text().split()}
    overrides = ["checkpoint=qm9-udlm-small", "tasks=[qed]", f"optimizers=[{optimizer}]", "budget=14"]
    benchmark(configured(*overrides, f"start={tmp_path / 'start.smi'}", f"output={tmp_path / 'out'}"))
    with (tmp_path / "out" / "calls" / f"qed_{optimizer}_seed-1.csv").open() as file:
        calls = list(csv.DictReader(file))
    first = {call["smiles"] for call in calls if call["round"] == "0"}
    assert first <= start
    assert len(calls) == 14
    assert not {call["smiles"] for call in calls if call["round"] != "0"} <= start
    with pytest.raises(FileExistsError, match="holds a benchmark with another `content of start`"):
        benchmark(configured(*overrides, f"output={tmp_path / 'out'}"))


def test_a_file_of_first_molecules_without_molecules_is_refused(tmp_path: Path):
    (tmp_path / "start.txt").write_text("C1CC\nnothing\n")
    with pytest.raises(ValueError, match=r"Expected SMILES in .*start\.txt as `start`, got no valid one\."):
        benchmark(configured("checkpoint=qm9-udlm-small", f"start={tmp_path / 'start.txt'}"))


def test_sums_are_over_tasks_and_intervals_over_seeds():
    rows = rows_of({"qed": [0.5, 0.7], "median1": [0.1, 0.3]}) + rows_of({"qed": [0.9]}, "svdd")
    summary = {(row["task"], row["optimizer"]): row for row in summarize(rows)}
    # svdd has no sum: it has not run on every task.
    assert list(summary) == [("qed", "remask"), ("median1", "remask"), ("qed", "svdd"), ("sum", "remask")]
    total = summary["sum", "remask"]
    assert total["auc_top10"] == pytest.approx(0.8)
    # Student's quantile for two seeds is 12.706; the sums are 0.6 and 1.0.
    assert total["auc_top10_ci95"] == pytest.approx(12.706 * math.sqrt(0.08) / math.sqrt(2), rel=1e-4)
    assert summary["qed", "svdd"]["auc_top10_ci95"] is None


@pytest.mark.parametrize(("budget", "tasks", "shown"), [(10_000, 20, True), (10_000, 19, False), (1_000, 20, False)])
def test_published_sums_stand_beside_all_tasks_at_their_budget_alone(budget: int, tasks: int, shown: bool):
    _, *text = module._report(rows_of({task: [0.5] for task in PMO_TASKS[:tasks]}), budget)
    assert bool(text) == shown
    if shown:
        assert "23 tasks, which are not the same set" in text[0]
        assert "Mol GA: 14.71" in text[1]


def test_remask_at_little_noise_proposes_its_parents(model: Checkpoint):
    proposed: list[str] = []

    class Recorded(CountedOracle):
        def __call__(self, smiles: str) -> float:
            proposed.append(smiles)
            return super().__call__(smiles)

    oracle = Recorded(lambda smiles: float(len(smiles)), 100)
    # The last one is the best, and longer than any sequence of the model.
    parents = ["CC1CC(C1)C=O", "CCOC(C)CC#N", *("C" * n for n in range(1, 9)), "C" * 40]
    oracle.values |= {one: float(len(one)) for one in parents}
    Remask(parents=3, samples=24, least=1 / 6, most=1 / 6)(model, oracle, 0, 0)
    assert len(proposed) == 24
    assert "C" * 40 not in proposed
    near = sum(one in parents[:2] for one in proposed)
    assert near >= 6
    proposed.clear()
    Remask(parents=3, samples=24, least=1, most=1)(model, oracle, 0, 0)
    assert sum(one in parents[:2] for one in proposed) < near


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tasks=[qed,osimertinib]"], "Unknown task osimertinib: did you mean osimertinib_mpo?"),
        (["tasks=[xyz]"], "Unknown task xyz: the tasks are albuterol_similarity, "),
        (["optimizers=[partices]"], "Unknown optimizer partices: did you mean particles?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_one(overrides: list[str], message: str):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        benchmark(configured("checkpoint=nowhere", *overrides))


def test_the_package_of_the_genetic_algorithm_is_named_if_it_is_missing(
    model: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "has_mol_ga", lambda: False)
    with pytest.raises(ValueError, match=r"Expected the package mol_ga for `optimizers=\[genetic\]`"):
        benchmark(configured("checkpoint=nowhere", "optimizers=[genetic]"))
    assert choose_optimizers(None, model) == ["best_of_n", "remask", "particles", "svdd"]


def test_other_models_are_refused(checkpoint: Callable[[str], Path]):
    with pytest.raises(ValueError, match=r"Expected a model of SMILES .*, got one of strings"):
        choose_optimizers(None, load(checkpoint("table")))
    left_to_right = load("qm9-ar-small")
    with pytest.raises(ValueError, match=r"Expected a diffusion model for remask, .* are best_of_n, genetic\."):
        choose_optimizers(["best_of_n", "remask"], left_to_right)
    assert choose_optimizers(["best_of_n", "best_of_n"], left_to_right) == ["best_of_n"]
