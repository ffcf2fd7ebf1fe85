"""Dry runs: their output, and an empty folder afterwards."""

import re
from pathlib import Path
from types import SimpleNamespace

import programs
import pytest
from omegaconf import OmegaConf

from discrete_diffusion.checkpoints import load
from discrete_diffusion.datasets import decode
from discrete_diffusion.trainer.dry_run import count_validations, in_bytes, in_time
from discrete_diffusion.trainer.dry_run_folder import DryRunFolder

PROGRAM = """
import hydra

@hydra.main(version_base="1.3", config_path=".", config_name="program")
def main(config):
    from pathlib import Path
    folder = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    (folder / "result").write_text("")
    if config.other:
        (folder.parent / "other").mkdir()

main()
"""
CONFIG = """
dry_run: false
other: false
hydra:
  output_subdir: null
  callbacks: {dry_run: {_target_: discrete_diffusion.trainer.dry_run_folder.DryRunFolder}}
  run: {dir: outputs/name/first}
  sweep: {dir: outputs/name/sweep}
"""


def sections(text: str) -> dict[str, list[str]]:
    """The lines of each block of the output, by its first line."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return {lines[0]: [line.strip() for line in lines[1:]] for lines in blocks if lines}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("default")
def test_a_dry_run_prints_data_memory_and_steps_and_writes_nothing(run, tmp_path: Path, capsys):
    untrained = run(tmp_path / "run", "dry_run=true", "steps=3", "preview.samples=2")
    assert not list((tmp_path / "run").iterdir())
    found = sections(capsys.readouterr().out)
    data = untrained.data()
    (batch,) = (lines for name, lines in found.items() if name.startswith("First batch"))
    assert f"First batch: 8 sequences of {data.length} tokens" in found
    labels = {
        string: data.label.class_names[int(label)]
        for string, label in zip(decode(data.tokenizer, data.rows["input_ids"][:]), data.rows["label"][:], strict=True)
    }
    for line in batch[:2]:
        string, _, label = line.partition(" ")
        assert labels[string] == label.strip()
    assert batch[2] == "No row was dropped or changed."
    size = sum(one.numel() for one in untrained.network.parameters())
    memory = dict(re.split(" {2,}", line, maxsplit=1) for line in found["Memory on cpu"])
    for name in ("weights", "gradients", "averaged weights"):
        assert memory[name] == in_bytes(4 * size)
    assert memory["activations"].endswith("kept for the backward pass of 8 sequences")
    training, validation, previews, together = found["Time on cpu"]
    assert training.split()[0] == "training"
    assert " 3 × " in training
    assert " 2 × " in validation  # after steps 2 and 3
    assert len(data.validation) <= 16
    assert validation.endswith(", 1 batch")
    assert " 2 × " in previews
    assert together.startswith("together")


@pytest.mark.filterwarnings("default")
def test_a_dry_run_of_a_classifier(classify, generator_run, tmp_path: Path, capsys):
    generator = generator_run("udlm")
    before = files(generator)
    capsys.readouterr()
    classifier = classify(tmp_path / "run", "hidden", generator, "dry_run=true", "steps=2", "regress=qed")
    found = sections(capsys.readouterr().out)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())
    assert files(generator) == before
    made = load(generator)
    rows = made.data().rows
    qed = dict(zip(decode(made.tokenizer, rows["input_ids"][:]), rows.with_format(None)["qed"], strict=True))
    (batch,) = (lines for name, lines in found.items() if name.startswith("First batch: 8 sequences"))
    for line in batch[:2]:
        string, _, label = line.partition(" ")
        assert label.strip() == f"qed {qed[string]:.4g}"
    memory = dict(re.split(" {2,}", line, maxsplit=1) for line in found["Memory on cpu"])
    assert memory["weights"] == in_bytes(sum(4 * one.numel() for one in classifier.network.parameters()))
    frozen = [*made.network.parameters(), *made.network.buffers()]
    assert memory["frozen generator"] == in_bytes(sum(one.nbytes for one in frozen))
    assert [line.split()[0] for line in found["Time on cpu"]] == ["training", "validation", "together"]


@pytest.mark.filterwarnings("default")
def test_a_dry_run_counts_dropped_rows_and_prints_numbers(run, tmp_path: Path, capsys):
    rows = [f"{'C' * (1 + index % 9)}O,{index}" for index in range(30)]
    (tmp_path / "own.csv").write_text("\n".join(["smiles,height", *rows, "C C,4", "CCO,"]))
    options = ["data=table", f"data.path={tmp_path / 'own.csv'}", "tokenizer=smiles", "data.kind=molecules"]
    values = ["label=values", "label.column=height", "preview.samples=0"]
    run(tmp_path / "run", "dry_run=true", "steps=1", *options, *values)
    text = capsys.readouterr().out
    assert "1 of 32 rows (3.1%) dropped: not SMILES ('C C') (row 31)." in text
    assert "No row was dropped" not in text
    heights = {tuple(row.split(",")) for row in rows} | {("CCO", "missing")}
    batch = sections(text)["First batch: 8 sequences of 12 tokens"]
    assert len(batch) == 2
    for line in batch:
        string, _, number = line.partition(" ")
        assert (string, number.split()[-1]) in heights


@pytest.mark.filterwarnings("default")
def test_a_dry_run_refuses_what_a_run_refuses_and_resumes_what_it_resumes(run, generator_run, tmp_path: Path, capsys):
    with pytest.raises(ValueError, match="Expected 0 <= `psi` <= 1, got 2"):
        run(tmp_path / "run", "dry_run=true", "lift.psi=2")
    finished = generator_run("udlm")
    before = files(finished)
    with pytest.raises(ValueError, match="holds a run: resume it"):
        run(finished, "dry_run=true")
    capsys.readouterr()
    run(finished, "dry_run=true", f"resume={finished}", "steps=7", "preview.samples=0", small=False)
    (training, *_) = sections(capsys.readouterr().out)["Time on cpu"]
    assert " 3 × " in training  # the run has 4 steps
    run(finished, "dry_run=true", f"resume={finished}", small=False)
    assert "Nothing is left to train: the run has all 4 steps." in capsys.readouterr().out
    assert files(finished) == before


@pytest.mark.parametrize(
    ("steps", "interval", "accumulated", "first", "expected"),
    [(6000, 1000, 1, 0, 6), (5, 2, 1, 0, 3), (5, 2, 1, 4, 1), (5, 4, 2, 0, 3), (5, 100, 1, 0, 1), (5, 1.0, 1, 0, 1)],
)
def test_the_last_step_is_counted_as_a_validation(steps, interval, accumulated, first, expected):
    trainer = SimpleNamespace(max_steps=steps, val_check_interval=interval, accumulate_grad_batches=accumulated)
    assert count_validations(trainer, first) == expected


def test_bytes_and_durations_have_readable_units():
    counts, durations = (4000, 1_320_000, 999_600_000, 24_300_000_000), (0.0123, 4.561, 185, 45_000, 3599.9)
    assert [in_bytes(count) for count in counts] == ["4 kB", "1.32 MB", "1,000 MB", "24.3 GB"]
    expected = ["12.3 ms", "4.56 s", "3 min 5 s", "12 h 30 min", "1 h 0 min"]
    assert [in_time(seconds) for seconds in durations] == expected


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["other=true"], {"outputs", "outputs/name", "outputs/name/other"}),
        (["hydra.run.dir=mine"], {"mine/result"}),
    ],
)
def test_a_dry_run_removes_its_own_folders_alone(tmp_path: Path, arguments: list[str], left: set[str]):
    work = tmp_path / "work"
    (work / "mine").mkdir(parents=True)
    (work / "mine" / "file").write_text("")
    (tmp_path / "program.yaml").write_text(CONFIG)
    (tmp_path / "program.py").write_text(PROGRAM)
    assert programs.run(tmp_path / "program.py", "dry_run=true", *arguments, cwd=work).returncode == 0
    assert {str(one.relative_to(work)) for one in work.rglob("*")} == {"mine", "mine/file", *left}


def test_a_dry_sweep_removes_its_folder(tmp_path: Path, monkeypatch):
    registered = []
    monkeypatch.setattr("atexit.register", lambda *call: registered.append(call))
    config = OmegaConf.create({"dry_run": False, "hydra": {"sweep": {"dir": str(tmp_path / "outputs" / "sweep")}}})
    DryRunFolder().on_multirun_start(config)
    assert not registered
    config.dry_run = True
    DryRunFolder().on_multirun_start(config)
    (tmp_path / "outputs" / "sweep" / "0").mkdir(parents=True)
    for function, *arguments in registered:
        function(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default")
def test_a_dry_run_counts_rows_that_the_tokenizer_alters(run, tmp_path: Path, capsys):
    (tmp_path / "own.csv").write_text("\n".join(["sequence", *["ACGT"] * 29, "ACgt"]))
    options = ["data=table", f"data.path={tmp_path / 'own.csv'}", "tokenizer=dna", "preview.samples=0"]
    run(tmp_path / "run", "dry_run=true", "steps=1", *options)
    lines = capsys.readouterr().out.splitlines()
    line = "1 of 30 rows (3.3%) altered: the tokenizer changes letter case (row 30): 'ACgt' becomes 'ACGT'."
    assert lines.index(line) < lines.index(
        "The model learns the altered strings. To keep them as they are, choose another `tokenizer`."
    )
