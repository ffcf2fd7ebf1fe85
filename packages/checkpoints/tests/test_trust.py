"""Attacks by a stranger's config.json."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from discrete_diffusion.checkpoints import TARGETS, Checkpoint, UntrustedTargetError, expect_trusted, load
from discrete_diffusion.checkpoints.build import import_target
from discrete_diffusion.checkpoints.legacy import MOVED

FOREIGN = (
    "builtins.eval",
    "builtins.exec",
    "builtins.open",
    "discrete_diffusion.checkpoints.export",
    "discrete_diffusion.checkpoints.storage.whole",
    "discrete_diffusion.datasets.cache.keep",
    "discrete_diffusion.datasets.os.system",
    "discrete_diffusion.datasets.save_label",
    "discrete_diffusion.datasets.table.os.system",
    "discrete_diffusion.guidance.samplers.ancestral.torch.load",
    "discrete_diffusion.processes",
    "hydra.utils.instantiate",
    "os.system",
    "shutil.rmtree",
    "subprocess.Popen",
    "torch.hub.load",
    "",
    ["os.system"],
    None,
    5,
)
PLACES: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "backbone": lambda c, node: c.update(backbone=node),
    "denoiser": lambda c, node: c["model"].update(denoiser=node),
    "process": lambda c, node: c["model"]["denoiser"].update(process=node),
    "schedule": lambda c, node: c["model"]["denoiser"]["process"].update(schedule=node),
    "objective": lambda c, node: c["model"].update(objective=node),
    "lift": lambda c, node: c["model"]["sampler"].update(lift=node),
    "rows": lambda c, node: c["data"].update(rows=node),
    "source": lambda c, node: c["data"].update(
        rows={"_target_": "discrete_diffusion.datasets.selfies_rows", "source": node}
    ),
    "layout": lambda c, node: c["data"].update(layout=[{"layout": [node]}]),
    "label": lambda c, node: c["data"].update(label=node),
    "anything": lambda c, node: c["data"].update(anything=[[node]]),
    "vocab_size": lambda c, node: c["backbone"].update(vocab_size=node),
}


@pytest.fixture
def attack(checkpoint: Checkpoint, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Change the config.json of a saved checkpoint."""

    def attack(change: Callable[[dict[str, Any]], None]) -> Path:
        where = checkpoint.save(tmp_path / "checkpoint")
        config = json.loads((where / "config.json").read_text())
        change(config)
        (where / "config.json").write_text(json.dumps(config))
        return where

    return attack


@pytest.mark.parametrize("role", PLACES)
def test_foreign_targets_are_refused_in_every_role(attack, role: str):
    for target in FOREIGN:
        where = attack(lambda config, target=target: PLACES[role](config, {"_target_": target, "args": "x"}))
        with pytest.raises(
            UntrustedTargetError, match=f"as `{role}`, which is not ours: pass `trust_remote_code=True`"
        ):
            load(where)


def test_a_file_cannot_write_files(attack, tmp_path: Path):
    label = {"_target_": "discrete_diffusion.datasets.ThresholdLabel", "column": "qed", "threshold": 0.5}
    rows = {"_target_": "discrete_diffusion.datasets.save_label", "label": label, "path": str(tmp_path / "written")}
    with pytest.raises(UntrustedTargetError) as caught:
        load(attack(lambda config: config["data"].update(rows=rows)))
    assert (caught.value.role, caught.value.target) == ("rows", "discrete_diffusion.datasets.save_label")
    assert not (tmp_path / "written").exists()


def test_a_class_of_ours_is_refused_in_a_role_that_is_not_its_own(attack):
    node = {"_target_": "discrete_diffusion.datasets.molecules"}
    with pytest.raises(UntrustedTargetError, match="as `backbone`"):
        load(attack(lambda config: config.update(backbone=node)))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["backbone"].update(trust_remote_code=True),
        lambda c: c["backbone"].update(trust_remote_code="no"),
        lambda c: c["backbone"].update(config={"attn_implementation": "somebody/kernel"}),
        lambda c: c["data"].update(rows={"_target_": "discrete_diffusion.datasets.molecules", "cache_dir": "/tmp/x"}),
    ],
)
def test_arguments_that_a_file_may_not_set(attack, change):
    with pytest.raises(UntrustedTargetError, match="sets `"):
        load(attack(change))


def test_the_label_and_classifiers_of_a_checkpoint_run_nothing(attack):
    where = attack(lambda config: config)
    (where / "label.json").write_text(json.dumps({"_target_": "os.system", "command": "x"}))
    with pytest.raises(ValueError, match="cannot be read"):
        load(where)


def test_code_beside_a_tokenizer_is_not_run_and_nobody_is_prompted(attack, monkeypatch: pytest.MonkeyPatch):
    where = attack(lambda config: config)
    described = json.loads((where / "tokenizer_config.json").read_text())
    described |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (where / "tokenizer_config.json").write_text(json.dumps(described))
    (where / "evil.py").write_text("raise SystemExit('ran')\n")

    def ask(*_: object) -> str:
        raise AssertionError("asked whether to run the code")

    monkeypatch.setattr("builtins.input", ask)
    for trusted in (False, True):
        try:
            load(where, trust_remote_code=trusted)
        except ValueError as error:
            assert "cannot be read" in str(error)  # noqa: PT017, either outcome is safe


def test_no_function_in_the_lists_writes_files():
    datasets = import_module("discrete_diffusion.datasets")
    writers = {datasets.save_label}
    for names in TARGETS.values():
        for name in names:
            package, _, attribute = name.rpartition(".")
            assert attribute in import_module(package).__all__, name
            assert import_target(name) not in writers


def test_old_names_stand_for_their_current_ones():
    for old, new in MOVED.items():
        roles = [role for role, names in TARGETS.items() if new in names]
        assert roles, new
        for role in roles:
            expect_trusted({role: {"_target_": old}}, where="config.json")
