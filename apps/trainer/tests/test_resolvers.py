from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from discrete_diffusion.trainer import resolvers


def test_a_resumed_run_is_called_as_the_one_that_it_goes_on_with(tmp_path: Path):
    resolvers.register()
    saved = tmp_path / "outputs" / "prose" / "now" / "checkpoints" / "last.ckpt"
    (tmp_path / "outputs" / "prose" / "now" / ".hydra").mkdir(parents=True)
    OmegaConf.save({"name": "prose"}, saved.parents[1] / ".hydra" / "config.yaml")
    with initialize_config_module("discrete_diffusion.trainer.config", version_base="1.3"):
        folders = [
            compose("trainer", overrides, return_hydra_config=True).hydra.run.dir
            for overrides in ([], ["name=mine"], [f"resume={saved}"], ["resume=nowhere/checkpoints/last.ckpt"])
        ]
    assert [folder.split("/")[:2] for folder in folders] == [
        ["outputs", "molecules"],
        ["outputs", "mine"],
        ["outputs", "prose"],
        ["outputs", "molecules"],
    ]
