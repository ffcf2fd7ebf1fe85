"""Errors in the overrides: one line each, with the nearest name."""

from pathlib import Path
from subprocess import CompletedProcess

import programs
import pytest

PROGRAM = """
from discrete_diffusion.commandline import launch

def task(config):
    if config.steps < 1:
        raise ValueError(f"Expected `steps` >= 1, got {config.steps}.")
    print("steps", config.steps)

launch(task, config_path="pkg://configuration", config_name="program", open_keys=("rows",))
"""
CONFIG = """
defaults:
  - sampler: ancestral
  - _self_
steps: 3
sampling: {temperature: 1, top_k: null}
network: {_target_: builtins.dict}
rows: {first: {k: 1}}
hydra:
  run: {dir: .}
  sweep: {dir: .}
  output_subdir: null
"""


@pytest.fixture
def run(tmp_path: Path):
    package = tmp_path / "configuration"
    (package / "sampler").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "program.yaml").write_text(CONFIG)
    for name in ("ancestral", "first_hitting"):
        (package / "sampler" / f"{name}.yaml").write_text("k: 1\n")
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(*arguments: str) -> CompletedProcess[str]:
        return programs.run("program.py", *arguments, cwd=tmp_path)

    return run


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("stpes=3", "Unknown setting stpes: did you mean steps?"),
        ("sampling.topk=3", "Unknown setting sampling.topk: did you mean sampling.top_k?"),
        ("unlike=3", "Unknown setting unlike."),
        ("+sampling.topk=3", "Nothing reads the added setting sampling.topk: did you mean top_k?"),
        ("+stpes=3", "Nothing reads the added setting stpes: did you mean steps?"),
        (
            "sampler=first_hiting",
            "Expected `sampler` to be one of ancestral, first_hitting, got first_hiting: did you mean first_hitting?",
        ),
        (
            "sampler=[ancestral,first]",
            "Expected `sampler` to be one of ancestral, first_hitting, got first.",
        ),
        (
            "sampling.temperature=[1",
            "Cannot read the setting sampling.temperature=[1: write NAME=VALUE, with quotes around a text.",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_name(run, argument: str, line: str):
    done = run(argument)
    assert (done.returncode, done.stderr) == (2, f"program: {line}\n")


@pytest.mark.parametrize(
    "argument",
    [
        "+network.depth=3",
        "+rows.second.k=2",
        "+rows.first.m=3",
        "+rows.third={k: 1, of: '${steps}'}",
        "+network.block.size=3",
        "~sampling.temperature",
        "steps=4",
    ],
)
def test_arguments_of_a_target_and_entries_of_open_keys_may_be_added(run, argument: str):
    assert run(argument).returncode == 0


def test_a_failed_job_does_not_end_a_sweep(run):
    done = run("--multirun", "steps=2,0,4")
    assert done.returncode == 2
    assert "steps 2" in done.stdout
    assert "steps 4" in done.stdout
    assert "Expected `steps` >= 1, got 0." in done.stderr
    assert "1 of the jobs failed (number 1)" in done.stderr
