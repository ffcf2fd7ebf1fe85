"""`evaluator benchmark moses`: metrics of samples beside the published ones."""

import csv
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from rich.console import Console

from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.eval import canonical_smiles, moses_metrics
from discrete_diffusion.evaluator import __main__
from discrete_diffusion.evaluator import moses_benchmark as module
from discrete_diffusion.evaluator.moses_benchmark import PUBLISHED, data_path, moses_benchmark, read_filters, report

PARTS = {
    "train": ["CCO", "CC1CC1", "OCC1CCC1", "N#CCO"],
    "test": ["CCN", "OCC", "c1ccc2ccccc2c1", "CCOc1ccccc1", "CC(C)=O", "not a molecule"],
    "test_scaffolds": ["C1CC1C1CC1", "CCc1ccncc1", "CC(=O)NC1CC1"],
}
HAS_FCD = pytest.mark.skipif(not module._has_fcd(), reason="fcd_torch is not installed")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [f"{smiles},{part}" for part, strings in PARTS.items() for smiles in strings]
    path = tmp_path / "dataset_v1.csv"
    path.write_text("\n".join(["SMILES,SPLIT", *rows]))
    return path


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    """The shipped model, with few steps."""
    shipped = load("qm9-udlm-small")
    shipped.config["model"]["sampler"]["steps"] = 6
    return shipped


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch, model: Checkpoint) -> None:
    monkeypatch.setattr(module, "load", lambda *args, **options: model)


def configured(*overrides: str) -> DictConfig:
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        return compose("benchmark_moses", overrides=["checkpoint=qm9-udlm-small", "samples=24", *overrides])


def samples_of(folder: Path, seed: int) -> list[str]:
    with (folder / "samples" / f"seed-{seed}.csv").open() as file:
        return [row["sequence"] for row in csv.DictReader(file)]


def test_a_stopped_benchmark_goes_on_and_measures_its_samples(
    data: Path, model: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    overrides = [f"data.path={data}", f"output={tmp_path / 'out'}", "batch_size=10", "seeds=[1,2]", "fcd=false"]
    sample, batches = Checkpoint.sample, [0]

    def stops(self, count, **options):
        batches[0] += 1
        if batches[0] == 2:
            raise KeyboardInterrupt
        return sample(self, count, **options)

    monkeypatch.setattr(Checkpoint, "sample", stops)
    with pytest.raises(KeyboardInterrupt):
        moses_benchmark(configured(*overrides))
    assert "The same command goes on with" in capsys.readouterr().out
    assert len(samples_of(tmp_path / "out", 1)) == 10
    folder = moses_benchmark(configured(*overrides))
    assert batches[0] == 2 + 2 + 3
    printed = capsys.readouterr().out
    results = json.loads((folder / "results.json").read_text())
    assert [row["seed"] for row in results["results"]] == [1, 2]
    for row in results["results"]:
        strings = samples_of(folder, row["seed"])
        assert strings == model.decode(sample(model, 24, seed=row["seed"]))
        known = moses_metrics(
            strings, PARTS["test"][:-1], PARTS["test_scaffolds"], training=map(canonical_smiles, PARTS["train"])
        )
        assert {name: value for name, value in row.items() if name != "seed"} == pytest.approx(known)
    first, second = (row["valid"] for row in results["results"])
    assert results["summary"]["valid"] == pytest.approx((first + second) / 2)
    assert results["published"]["CharRNN"]["FCD/Test"] == 0.0732
    assert "Filters are PAINS alone" in printed
    assert "24 samples instead of 30,000" in printed
    (line,) = [line for line in printed.splitlines() if line.lstrip().startswith("valid")]
    assert line.split()[-9:] == ["1.000", "0.076", "0.238", "1.000", "0.975", "0.937", "0.977", "1.000", "0.897"]
    # Seeds that are done are not drawn or measured again.
    monkeypatch.setattr(Checkpoint, "sample", None)
    monkeypatch.setattr(module, "moses_metrics", None)
    moses_benchmark(configured(*overrides))
    assert json.loads((folder / "results.json").read_text())["results"] == results["results"]
    with pytest.raises(FileExistsError, match="holds a benchmark with another `samples`"):
        moses_benchmark(configured(*overrides, "samples=30"))


@HAS_FCD
def test_fcd_is_computed_where_its_package_is_installed(data: Path, tmp_path: Path):
    folder = moses_benchmark(configured(f"data.path={data}", f"output={tmp_path / 'out'}", "test_molecules=2"))
    (row,) = json.loads((folder / "results.json").read_text())["results"]
    strings = samples_of(folder, 1)
    assert row["FCD/Test"] == pytest.approx(moses_metrics(strings, ["CCN", "CCOc1ccccc1"], fcd=True)["FCD/Test"])


def test_what_is_not_moses_is_refused_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "draw", None)
    (tmp_path / "other.csv").write_text("smiles\nCCO\n")
    for name, error in (("none.csv", FileNotFoundError), ("other.csv", ValueError)):
        with pytest.raises(error, match=name):
            moses_benchmark(configured(f"data.path={tmp_path / name}", f"output={tmp_path / 'out'}", "fcd=false"))
        assert not (tmp_path / "out").exists()


def test_the_folder_of_something_else_is_refused(data: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("[]")
    with pytest.raises(FileExistsError, match="Expected `output` to be a new folder, or that of a benchmark"):
        moses_benchmark(configured(f"data.path={data}", f"output={tmp_path / 'out'}", "fcd=false"))


def test_a_missing_package_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(module, "_has_fcd", lambda: False)
    with pytest.raises(ValueError, match=r"fcd_torch for `fcd=true`: install `discrete-diffusion-eval\[fcd\]`"):
        moses_benchmark(configured("fcd=true"))

    def stops(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "draw", stops)
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        moses_benchmark(configured(f"data.path={data}", f"output={folder}"))
    assert "Without FCD: install `discrete-diffusion-eval[fcd]`." in capsys.readouterr().out
    assert json.loads((folder / "settings.json").read_text())["fcd"] is False


def test_the_wheel_brings_its_filters(tmp_path: Path):
    wheel = tmp_path / "molsets.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(module.MCF, 'names,smarts\nMCF1,C#N\nMCF2,"[F,Cl]"\n')
    assert read_filters(None, wheel) == ["C#N", "[F,Cl]"]
    (tmp_path / "own.csv").write_text("smarts\nCC\n")
    assert read_filters(str(tmp_path / "own.csv"), wheel) == ["CC"]
    assert read_filters(None, tmp_path / "dataset_v1.csv") is None


def test_data_are_those_of_a_model_of_moses(model: Checkpoint, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"Expected `data\.path`, the file dataset_v1\.csv of MOSES"):
        data_path(None, model)
    rows = {"_target_": "discrete_diffusion.datasets.moses", "path": "here.csv"}
    monkeypatch.setitem(model.config, "data", {**model.config["data"], "rows": rows})
    assert data_path(None, model) == Path("here.csv")
    assert data_path("there.csv", model) == Path("there.csv")


def test_models_of_other_strings_are_refused(
    checkpoint: Callable[[str], Path], data: Path, monkeypatch: pytest.MonkeyPatch
):
    other = load(checkpoint("table"))
    monkeypatch.setattr(module, "load", lambda *arguments, **options: other)
    with pytest.raises(ValueError, match="Expected a model of molecules, got one of strings"):
        moses_benchmark(configured(f"data.path={data}"))


def test_the_table_fits_the_width_and_says_what_differs():
    row = {"seed": 1, **PUBLISHED["VAE"], "logP": 0.1}
    table, *text = report([row, {**row, "seed": 2}], 30_000, None)
    console = Console(width=132)
    with console.capture() as captured:
        console.print(table)
    lines = {line.split()[0]: line for line in captured.get().splitlines() if line.strip()}
    assert "0.626 ± 0.000" in lines["SNN/Test"]
    assert lines["logP"].split()[1:] == ["0.100", "±", "0.000", *["–"] * 9]
    assert len(text) == 1
    *_, note = report([row], 1000, 500)
    assert "1,000 samples instead of 30,000 and at most 500 molecules of each test set instead of all" in note


@pytest.mark.parametrize(
    ("words", "launched", "commands"),
    [
        ("benchmark moses samples=4", "benchmark_moses", []),
        ("benchmark budget=20", "benchmark", ["moses"]),
        ("score tokens=true", "score", []),
        ("samples=4", "evaluator", ["generate", "score", "benchmark"]),
    ],
)
def test_the_words_before_the_settings_choose_the_command(
    words: str, launched: str, commands: list[str], monkeypatch: pytest.MonkeyPatch
):
    given: list[object] = []
    monkeypatch.setattr(__main__, "_launch", lambda task, name, schema, commands: given.extend([name, commands]))
    monkeypatch.setattr(sys, "argv", ["evaluator", *words.split()])
    monkeypatch.setattr(sys, "path", [*sys.path])
    __main__._main()
    assert given == [launched, commands]
    assert sys.argv[1:] == words.split()[-1:]
