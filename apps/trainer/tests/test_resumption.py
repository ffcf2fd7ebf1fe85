"""Attacks by the configuration of a stranger's run."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.checkpoints import UntrustedTargetError
from discrete_diffusion.trainer.resolvers import resumed_name
from discrete_diffusion.trainer.resumption import MOVED, read_run
from discrete_diffusion.trainer.train import train

FOREIGN = (
    "builtins.eval",
    "os.system",
    "subprocess.Popen",
    "discrete_diffusion.datasets.save_label",
    "discrete_diffusion.datasets.os.system",
    "hydra.utils.instantiate",
    "torch.optim.lr_scheduler.torch.load",
    "${name}",
)
ROLES = (
    "backbone",
    "callbacks",
    "callbacks.average",
    "callbacks.more",
    "data.augment",
    "data.image",
    "data.layout",
    "data.rows",
    "label",
    "logger",
    "logger.csv",
    "lr_scheduler",
    "model.denoiser",
    "model.objective",
    "model.sampler.lift",
    "optimizer",
    "optimizer.muon",
    "picture",
    "preview",
    "schedule",
    "score",
    "tokenizer",
    "trainer.plugins",
    "trainer.profiler",
)


@pytest.fixture
def stranger(configure: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., str]:
    """Save the configuration of a run with changes, beside an empty checkpoint."""
    composed: dict[tuple[str, ...], DictConfig] = {}

    def stranger(changes: dict[str, Any], *overrides: str) -> str:
        run = tmp_path / "stranger"
        (run / ".hydra").mkdir(parents=True, exist_ok=True)
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "checkpoints" / "last.ckpt").write_bytes(b"")
        if overrides not in composed:
            composed[overrides] = configure(*overrides, output=tmp_path / "resumed")
        config = deepcopy(composed[overrides])
        OmegaConf.set_struct(config, False)
        for name, value in changes.items():
            OmegaConf.update(config, name, value, merge=False)
        OmegaConf.save(config, run / ".hydra" / "config.yaml")
        return str(run / "checkpoints" / "last.ckpt")

    return stranger


@pytest.mark.parametrize("role", ROLES)
def test_foreign_targets_are_refused_in_every_role(stranger, role: str):
    for target in FOREIGN:
        node = {"_target_": target, "command": "x"}
        for value in (node, [node], {"deeper": {"still": [node]}}):
            with pytest.raises(UntrustedTargetError, match="pass `trust_remote_code=True`"):
                read_run(stranger({role: value}), [], trust_remote_code=False)


def test_a_command_is_not_run(stranger, configure, tmp_path: Path):
    proof = tmp_path / "proof"
    node = {"_target_": "os.system", "command": f"touch {proof}"}
    for role in ("tokenizer", "callbacks.more", "score"):
        path = stranger({role: node})
        with pytest.raises(UntrustedTargetError):
            train(configure(f"resume={path}", output=tmp_path / "resumed"))
    assert not proof.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "${oc.create:'{_target_: os.system, command: x}'}"},
        {"optimizer": "${oc.decode:'{_target_: os.system, command: x}'}"},
        {"optimizer": "${ oc.create:'{_target_: os.system, command: x}'}"},
        {"optimizer": "${${name}.create:'{_target_: os.system}'}"},
        {"name": "${oc.env:HOME}"},
        {"trust_remote_code": True},
        {"tokenizer": {"_target_": "discrete_diffusion.datasets.pretrained_tokenizer", "trust_remote_code": True}},
        {"callbacks.checkpoints.dirpath": "/elsewhere"},
        {"callbacks.checkpoints.filename": "../../../outside"},
        {"logger.csv.save_dir": "~/elsewhere"},
        {"logger.csv.save_dir": "$HOME/elsewhere"},
        {"logger.csv.save_dir": "file:///elsewhere"},
        {"logger.csv.name": "${name}", "name": "/elsewhere"},
        {"logger.wandb": {"_target_": "lightning.pytorch.loggers.WandbLogger", "settings": {"base_url": "http://x"}}},
        {"data.rows.cache_dir": "/elsewhere"},
    ],
)
def test_settings_that_compute_targets_or_write_elsewhere(stranger, changes: dict[str, Any]):
    with pytest.raises(UntrustedTargetError):
        read_run(stranger(changes), [], trust_remote_code=False)


@pytest.mark.parametrize("data", ["molecules", "species10", "cifar10", "selfies", "text8_crops", "lm1b_wrapped"])
@pytest.mark.parametrize("options", [(), ("model=mdlm", "optimizer=adamw", "lr_scheduler=cosine"), ("model=ar",)])
def test_a_run_of_ours_is_resumed(stranger, data: str, options: tuple[str, ...]):
    config = read_run(stranger({}, f"data={data}", *options), ["steps=7"], trust_remote_code=False).config
    assert config.steps == 7


@pytest.mark.parametrize("experiment", ["qm9", "amazon", "species10", "digits", "reviews", "cifar10"])
def test_a_run_of_a_preset_is_resumed(stranger, experiment: str):
    read_run(stranger({}, f"experiment={experiment}", "logger=wandb"), [], trust_remote_code=False)


@pytest.mark.parametrize(("former", "current"), MOVED.items())
def test_a_target_that_has_moved_is_found_again(stranger, former: str, current: str):
    assert callable(get_object(current))
    settings = read_run(stranger({"task": {"view": {"_target_": former}}}), [], trust_remote_code=True).settings
    assert settings.task.view._target_ == current


def test_data_of_a_relative_path_are_found_above_the_run(stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = stranger({}, "data=table", "data.path=mine.csv")
    assert read_run(path, [], trust_remote_code=False).config.data.path == "mine.csv"
    (tmp_path / "mine.csv").touch()
    resumed = read_run(path, ["steps=7"], trust_remote_code=False)
    assert resumed.config.data.path == str(tmp_path / "mine.csv")
    assert resumed.config.data.rows.path == str(tmp_path / "mine.csv")
    assert resumed.changes == ["steps 6000 -> 7", f"data.path mine.csv -> {tmp_path / 'mine.csv'}"]
    assert read_run(path, ["data.path=other.csv"], trust_remote_code=False).config.data.path == "other.csv"
    (elsewhere / "mine.csv").touch()  # of the same name
    assert read_run(path, [], trust_remote_code=False).config.data.path == str(tmp_path / "mine.csv")
    # The folder of the first run has them, so that nothing changes.
    monkeypatch.chdir(tmp_path)
    assert read_run(path, [], trust_remote_code=False).changes == []


def test_a_person_may_trust_a_run(stranger):
    path = stranger({"optimizer": {"_target_": "mine.Optimizer", "_partial_": True}})
    with pytest.raises(UntrustedTargetError, match=r"builds `mine.Optimizer` as `optimizer`"):
        read_run(path, ["steps=7"], trust_remote_code=False)
    assert read_run(path, ["steps=7"], trust_remote_code=True).config.optimizer._target_ == "mine.Optimizer"


def test_the_command_line_is_trusted(stranger):
    config = read_run(stranger({}), ["+optimizer.extra=1"], trust_remote_code=False).config
    assert config.optimizer.extra == 1
    config = read_run(stranger({}), ["optimizer._target_=mine.Optimizer"], trust_remote_code=False).config
    assert config.optimizer._target_ == "mine.Optimizer"


@pytest.mark.parametrize("name", ["../../outside", "/outside", "${oc.env:HOME}", "..", ["x"], ""])
def test_a_run_s_name_does_not_lead_elsewhere(stranger, name: Any):
    assert resumed_name(stranger({"name": name}), "mine") == "mine"
