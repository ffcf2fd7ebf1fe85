"""`evaluator generate`: sequences to a file."""

import csv
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.commandline.lock import OutputLock
from discrete_diffusion.commandline.stopping import stop_on_signals
from discrete_diffusion.datasets import read_table
from discrete_diffusion.evaluator import generate as module
from discrete_diffusion.evaluator.domains.domain import Domain
from discrete_diffusion.evaluator.generate import generate
from discrete_diffusion.evaluator.sequence_file import SequenceFile, format_rows

Checkpoint = Callable[[str], Path]


def configured(*overrides: str) -> DictConfig:
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        return compose("generate", overrides=[*overrides])


@pytest.fixture
def model(checkpoint: Checkpoint) -> str:
    return f"checkpoint={checkpoint('udlm')}"


STEPS = "sampling.steps=3"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_holds_the_sequences_and_its_first_ones_are_those_of_a_smaller_run(model: str, tmp_path: Path):
    guided = ["guidance=classifier_free", "gamma=2", STEPS, "seed=3"]
    assert generate(configured(model, f"output={tmp_path / 'a.csv'}", "count=9", "batch_size=4", *guided)) == {
        "drawn": 9,
        "written": 9,
        "invalid": 0,
        "without the fragments": 0,
        "repeated": 0,
    }
    rows = read(tmp_path / "a.csv")
    assert [row["index"] for row in rows] == [str(i) for i in range(9)]
    assert len({row["label"] for row in rows}) == 1
    generate(configured(model, f"output={tmp_path / 'b.csv'}", "count=4", "batch_size=8", *guided))
    assert read(tmp_path / "b.csv") == rows[:4]


def test_standard_output_has_one_sequence_a_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    generate(configured(model, "count=3", STEPS))
    printed = capsys.readouterr()
    generate(configured(model, "count=3", STEPS, f"output={tmp_path / 'a.txt'}"))
    assert printed.out == (tmp_path / "a.txt").read_text()
    assert printed.out.count("\n") == 3
    assert "3 sequences; 3 drawn." in printed.err


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "smi", "txt", "fasta", "fa"])
def test_every_format_is_read_again(ending: str, tmp_path: Path):
    path = tmp_path / f"a.{ending}"
    rows = [{"index": i, "sequence": sequence, "label": "high"} for i, sequence in enumerate(["CCO", "CC", "C(=O)O"])]
    with SequenceFile(str(path), {"seed": 0}) as file:
        file.write(rows[:2], {})
        file.write(rows[2:], {})
        assert file.written() == ["CCO", "CC", "C(=O)O"]
        file.finish()
    assert list(tmp_path.iterdir()) == [path]
    column = "smiles" if ending == "smi" else "sequence"
    assert list(read_table(path)[column]) == ["CCO", "CC", "C(=O)O"]


def test_a_line_break_does_not_end_a_line_of_text():
    assert format_rows(".txt", [{"index": 0, "sequence": "a\nb"}], header=False) == "a b\n"
    assert json.loads(format_rows(".jsonl", [{"index": 0, "sequence": "a\nb"}], header=False))["sequence"] == "a\nb"


@pytest.mark.parametrize("filters", [[], ["unique=true"]])
def test_a_stopped_run_goes_on_and_its_file_is_that_of_a_whole_run(
    model: str, tmp_path: Path, filters: list[str], monkeypatch: pytest.MonkeyPatch
):
    common = [model, "count=10", "batch_size=2", STEPS, *filters]
    generate(configured(*common, f"output={tmp_path / 'whole.csv'}"))
    stopped, calls = configured(*common, f"output={tmp_path / 'stopped.csv'}"), []

    def interrupted(tokenizer, ids):
        calls.append(ids)
        if len(calls) == 3:
            # What a crash in the middle of a write may leave.
            with (tmp_path / "stopped.csv").open("a") as file:
                file.write("4,half a li")
            raise KeyboardInterrupt
        return decode(tokenizer, ids)

    decode = module.decode
    monkeypatch.setattr(module, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(stopped)
    with pytest.raises(FileExistsError, match="was begun with another `seed`, 0 instead of 1"):
        generate(configured(*common, f"output={tmp_path / 'stopped.csv'}", "seed=1"))
    generate(stopped)
    assert (tmp_path / "stopped.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.csv", "whole.csv"]
    with pytest.raises(FileExistsError, match="Expected `output` to be a new file"):
        generate(stopped)


def test_a_run_that_is_stopped_before_its_first_batch_or_by_a_full_disk_goes_on(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    common = [model, "count=6", "batch_size=2", STEPS]
    generate(configured(*common, f"output={tmp_path / 'whole.csv'}"))
    config, rows = configured(*common, f"output={tmp_path / 'a.csv'}"), module.last

    def terminated(states: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(module, "last", terminated)
    with pytest.raises(SystemExit) as stop, stop_on_signals():
        generate(config)
    assert stop.value.code == 143
    assert "Resume with the same command" in capsys.readouterr().err

    def full(states: Any) -> Any:
        if (tmp_path / "a.csv").stat().st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rows(states)

    monkeypatch.setattr(module, "last", full)
    with pytest.raises(OSError, match="The disk is full: make room, and the same command goes on with"):
        generate(config)
    monkeypatch.setattr(module, "last", rows)
    generate(config)
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "whole.csv").read_text()


class OddLength(Domain):
    """Strings that are valid if their length is odd."""

    checks_validity = True

    @staticmethod
    def valid_form(string: str) -> str | None:
        return string[:1] if len(string) % 2 else None


def test_filters_discard_and_count(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "domain_class", lambda kind: OddLength)
    path, filters = tmp_path / "a.csv", ["valid=true", "unique=true"]
    counts = generate(configured(model, f"output={path}", "count=50", "max_draws=60", *filters, STEPS))
    assert counts["drawn"] == 60
    assert sum(counts[name] for name in ("written", "invalid", "repeated")) == 60
    assert min(counts[name] for name in ("written", "invalid", "repeated")) > 0
    sequences = [row["sequence"] for row in read(path)]
    assert all(len(sequence) % 2 for sequence in sequences)
    assert len({sequence[:1] for sequence in sequences}) == len(sequences) == counts["written"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["count=0"], "Expected an integer `count` >= 1, got 0"),
        (["seed=-1"], "Expected an integer `seed` >= 0, got -1"),
        (["output=a.xyz"], "Expected `output` to end in .csv"),
        (["gamma=2"], "Expected no `gamma` without guidance"),
        (["guidance=classifier_free"], "Expected a `gamma`"),
        (["max_draws=3"], "Expected `max_draws` >= `count` = 100, got 3"),
        (["guidance=best_of_n", "gamma=2"], "Expected a reward for the search"),
        (["label=nonsense", "guidance=classifier_free", "gamma=1"], "Expected `label` to be one of 0"),
        (["sampler=first_hitting"], "Expected masked diffusion for FirstHittingSampler"),
    ],
)
def test_what_cannot_be_done_is_refused(model: str, overrides: list[str], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        generate(configured(model, *overrides))


def length(string: str) -> float:
    return float(len(string))


def test_a_search_takes_a_reward_of_ones_own(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "domain_class", lambda kind: Domain)
    monkeypatch.setattr(module, "length", length, raising=False)
    reward = "reward.function._target_=discrete_diffusion.evaluator.generate.length"
    search = ["guidance=best_of_n", "gamma=inf", "guidance.best_of_n.method.n=8", reward]
    generate(configured(model, f"output={tmp_path / 'a.csv'}", "count=4", STEPS, *search))
    generate(configured(model, f"output={tmp_path / 'b.csv'}", "count=4", STEPS))
    long, plain = (sum(len(row["sequence"]) for row in read(tmp_path / name)) for name in ("a.csv", "b.csv"))
    assert long > plain


def test_label_is_the_value_that_a_regressor_steers_to(checkpoint: Checkpoint, classifier: Checkpoint, tmp_path: Path):
    regressor = classifier("udlm", "noisy", "regress=qed")
    chosen = [f"checkpoint={checkpoint('udlm')}", "count=2", STEPS, "guidance=first_order", "gamma=2"]
    target = "guidance.first_order.classifier.target=0.5"
    generate(configured(*chosen, target, f"classifier={regressor}", f"output={tmp_path / 'a.csv'}"))
    assert {row["label"] for row in read(tmp_path / "a.csv")} == {"qed near 0.5"}


@pytest.mark.parametrize("command", ["generate", "score"])
def test_no_log_file_is_left_where_the_command_is_called(command: str):
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        config = compose(command, return_hydra_config=True)
    assert "handlers" not in config.hydra.job_logging


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        *(("mdlm", name) for name in ("ancestral", "first_hitting", "path_planning", "remasking")),
        *(("mdlm", name) for name in ("confidence_remasking", "highest_confidence", "tau_leaping", "trapezoidal")),
        *(("udlm", name) for name in ("own", "ancestral", "tau_leaping", "gibbs_corrected")),
        ("ar", "own"),
    ],
)
def test_infilling_holds_the_rest(
    kind: str, sampler: str, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    steps = [] if sampler in ("first_hitting", "highest_confidence") or kind == "ar" else [STEPS]
    (tmp_path / "template.txt").write_text("O=C1CC[*]C1\n")
    chosen = [f"checkpoint={checkpoint(kind)}", f"sampler={sampler}", "gap=[1,3]", "count=6", *steps]
    generate(configured(*chosen, f"infill_file={tmp_path / 'template.txt'}", f"output={tmp_path / 'a.csv'}"))
    strings = [row["sequence"] for row in read(tmp_path / "a.csv")]
    assert all(string.startswith("O=C1CC") and string.endswith("C1") and "<" not in string for string in strings)
    assert ("heuristic" in capsys.readouterr().err) == (kind != "mdlm")


@pytest.mark.parametrize("unique", [False, True])
def test_each_template_of_a_file_is_filled_as_it_is_alone(unique: bool, checkpoint: Checkpoint, tmp_path: Path):
    texts = ["CC_O", "N[*]C", "_=O"]
    (tmp_path / "templates.txt").write_text("\n".join([*texts, "", texts[0]]))
    chosen = [f"checkpoint={checkpoint('mdlm')}", "count=5", "gap=[1,4]", STEPS, f"unique={unique}", "max_draws=50"]
    counts = generate(
        configured(*chosen, f"infill_file={tmp_path / 'templates.txt'}", f"output={tmp_path / 'all.csv'}")
    )
    rows = read(tmp_path / "all.csv")
    assert len(rows) == counts["written"]
    assert list(dict.fromkeys(row["template"] for row in rows)) == texts
    for number, text in enumerate(texts):
        own = [row for row in rows if row["template"] == text]
        if not unique:
            generate(configured(*chosen, f'infill="{text}"', f"output={tmp_path / f'{number}.csv'}"))
            assert [(row["index"], row["sequence"]) for row in own] == [
                (row["index"], row["sequence"]) for row in read(tmp_path / f"{number}.csv")
            ]
    if unique:
        assert len({row["sequence"] for row in rows}) == len(rows)


def test_infilling_is_the_same_in_python_and_in_every_batch(checkpoint: Checkpoint, tmp_path: Path):
    folder = checkpoint("mdlm")
    for size in (3, 256):
        chosen = [f"checkpoint={folder}", "seed=4", "count=7", STEPS, f"batch_size={size}", 'infill="CC[*]O_"']
        generate(configured(*chosen, f"output={tmp_path / f'{size}.csv'}"))
    assert read(tmp_path / "3.csv") == read(tmp_path / "256.csv")
    strings = load(folder).complete("CC[*]O_", 7, seed=4, steps=3)
    assert [row["sequence"] for row in read(tmp_path / "3.csv")] == strings


def test_infilling_goes_with_guidance_and_constraints(checkpoint: Checkpoint, tmp_path: Path):
    chosen = [f"checkpoint={checkpoint('mdlm')}", "guidance=classifier_free", "gamma=2", "count=4", STEPS]
    banned = "constraints.ban=[N,O,F]"
    generate(configured(*chosen, 'infill="N[*]O"', banned, f"output={tmp_path / 'a.csv'}"))
    for row in read(tmp_path / "a.csv"):
        assert row["sequence"].startswith("N")
        assert row["sequence"].endswith("O")
        assert not set("NOF") & set(row["sequence"][1:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["infill=CC"], "Expected a free place in the text"),
        (["infill=CC_", "prompt=C"], "Expected either `infill` or `prompt`, got both"),
        (["infill=CC_", "infill_file=a.txt"], "Expected either `infill` or `infill_file`, got both"),
        (["infill=CC_", "gap=[1]"], "Expected the smallest and the largest number of tokens in `gap`"),
        (["infill=CC_Zz"], "Expected a text of tokens that the model knows, got 'Zz'"),
        (['prompt="C[*]C"'], r"Expected no gap `\[\*\]` in `prompt`"),
    ],
)
def test_what_cannot_be_filled_is_refused(options: list[str], message: str, model: str):
    with pytest.raises(ValueError, match=message):
        generate(configured(model, *options))


HELD = "constraints.only={4:['C','N','O'],5:['%10'],6:['<eos>']}"
"""One atom at the attachment point of a fragment of three tokens, and the end."""


def heavy_atoms(string: str) -> float:
    return float(sum(letter in "CNO" for letter in string))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("safe", [STEPS]),
        (
            "safe",
            ["sampler=first_hitting", "guidance=classifier_free", "guidance.classifier_free.level=denoiser", "gamma=2"],
        ),
        ("safe", [STEPS, "guidance=particles", "gamma=1", "guidance.particles.method.particles=2"]),
        ("safe_ar", []),
    ],
    ids=["ancestral", "first hitting, classifier-free", "particles", "left to right"],
)
def test_molecules_hold_the_fragments(
    kind: str,
    options: list[str],
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(module, "heavy_atoms", heavy_atoms, raising=False)
    reward = "reward.function._target_=discrete_diffusion.evaluator.generate.heavy_atoms"
    chosen = [f"checkpoint={checkpoint(kind)}", 'fragments="C[*]"', HELD, "count=6", *options, reward]
    counts = generate(configured(*chosen, f"output={tmp_path / 'a.csv'}"))
    assert counts == {"drawn": 6, "written": 6, "invalid": 0, "without the fragments": 0, "repeated": 0}
    assert {row["sequence"] for row in read(tmp_path / "a.csv")} <= {"CC", "CN", "CO"}
    assert "heuristic" not in capsys.readouterr().err


UNJOINED = "constraints.only={4:['C'],5:['%10'],6:['.','<eos>'],7:['C'],8:['<eos>']}"
"""Ethane, or ethane and methane."""


def test_a_search_rejects_molecules_without_the_fragments(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "heavy_atoms", heavy_atoms, raising=False)
    reward = "reward.function._target_=discrete_diffusion.evaluator.generate.heavy_atoms"
    search = ["guidance=best_of_n", "gamma=inf", "guidance.best_of_n.method.n=16", reward]
    chosen = [f"checkpoint={checkpoint('safe')}", 'fragments="C[*]"', UNJOINED, STEPS, "count=4", *search]
    counts = generate(configured(*chosen, f"output={tmp_path / 'a.csv'}"))
    assert counts["drawn"] == counts["written"] == 4
    assert {row["sequence"] for row in read(tmp_path / "a.csv")} == {"CC"}


def test_molecules_without_the_fragments_are_discarded_and_counted(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    chosen = [f"checkpoint={checkpoint('safe')}", 'fragments="C[*]"', UNJOINED, STEPS, "unique=true"]
    counts = generate(configured(*chosen, "count=2", "max_draws=40", f"output={tmp_path / 'a.smi'}"))
    assert counts["written"] == 1
    assert min(counts["without the fragments"], counts["repeated"]) > 0
    assert counts["invalid"] == 0
    assert counts["drawn"] == 40 == 1 + counts["without the fragments"] + counts["repeated"]
    assert f"{counts['without the fragments']} without the fragments discarded" in capsys.readouterr().err
    assert (tmp_path / "a.smi").read_text().split()[0] == "CC"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("mdlm", ['fragments="C[*]"'], "Expected a model of SAFE strings for `fragments`"),
        ("safe", ['fragments="C[*]"', "prompt=C"], "Expected either `fragments` or `prompt`, got both"),
        ("safe", ['fragments="C[*]"', 'infill="C[*]"'], "Expected either `fragments` or `infill`, got both"),
        ("safe", ['fragments="C=[*]"'], r"Expected attachment points `\[\*\]` with one single bond"),
        ("safe", ['fragments="[Pt][*]"'], r"Expected a text of tokens that the model knows, got '\[Pt\]"),
        ("safe", [f'fragments="{"C" * 90}[*]"'], "Expected a text that fits the model's"),
    ],
)
def test_fragments_that_cannot_be_held_are_refused(kind: str, options: list[str], message: str, checkpoint: Checkpoint):
    with pytest.raises(ValueError, match=message):
        generate(configured(f"checkpoint={checkpoint(kind)}", *options))


def test_a_second_run_with_the_same_output_is_refused(model: str, tmp_path: Path):
    out = tmp_path / "out.csv"
    config = configured(model, "count=2", "sampling.steps=2", f"output={out}")
    with (
        OutputLock(out),
        pytest.raises(ValueError, match=rf"process {os.getpid()} is writing to .*out.csv: .* another output\."),
    ):
        generate(config)
    assert not list(tmp_path.glob("*out.csv*"))
    generate(config)
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
