"""Imports of each package: what it needs and nothing more."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"hydra", "lightning", "lightning_fabric", "omegaconf", "pytorch_lightning", "tensorboard", "wandb"}
HEAVY = {"datasets", "matplotlib", "pandas", "pyarrow", "rdkit", "scipy", "sklearn", "tokenizers", "transformers"}
CHECKPOINTS = {"checkpoints", "backbones", "datasets", "guidance", "processes", "schedules"}
TELL = """
import importlib, json, sys
importlib.import_module("discrete_diffusion." + sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("package", "ours", "banned"),
    [
        ("schedules", {"schedules"}, FRAMEWORKS | HEAVY),
        ("processes", {"processes", "schedules"}, FRAMEWORKS | HEAVY),
        ("backbones", {"backbones"}, FRAMEWORKS | HEAVY),
        ("guidance", {"guidance"}, FRAMEWORKS | HEAVY),
        ("datasets", {"datasets"}, FRAMEWORKS),
        ("eval", {"eval"}, FRAMEWORKS | {"torch"}),
        ("checkpoints", CHECKPOINTS, FRAMEWORKS),
    ],
)
def test_a_package_loads_of_ours_what_it_may_and_nothing_banned(package: str, ours: set[str], banned: set[str]):
    command = [sys.executable, "-c", TELL, package]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    modules = json.loads(run.stdout.splitlines()[-1])
    assert {module.split(".")[1] for module in modules if module.startswith("discrete_diffusion.")} <= ours
    assert not {module.split(".")[0] for module in modules} & banned


ADDED = """
import importlib, json, sys
import torch, jaxtyping
before = set(sys.modules)
importlib.import_module("discrete_diffusion." + sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize(
    ("package", "ours"),
    [("schedules", {"schedules"}), ("processes", {"processes", "schedules"}), ("guidance", {"guidance"})],
)
def test_beside_torch_and_jaxtyping_a_package_loads_itself_alone(package: str, ours: set[str]):
    run = subprocess.run([sys.executable, "-c", ADDED, package], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    added = {tuple(module.split(".")[:2]) for module in json.loads(run.stdout.splitlines()[-1])}
    strangers = {names for names in added if names[0] not in sys.stdlib_module_names}
    assert strangers == {("discrete_diffusion",), *(("discrete_diffusion", name) for name in ours)}
