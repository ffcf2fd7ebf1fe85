"""Runs so small that they take seconds: 300 molecules, one block, a few steps, in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from discrete_diffusion.trainer import resolvers
from discrete_diffusion.trainer.checkpoint import Checkpoint
from discrete_diffusion.trainer.train import train

TINY = [
    "backbone.hidden_size=16",
    "backbone.num_blocks=1",
    "backbone.num_heads=2",
    "steps=4",
    "batch_size=8",
    "validate_every=2",
    "trainer.accelerator=cpu",
    "callbacks.progress.refresh_rate=0",
]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def configure() -> Iterator[Callable[..., DictConfig]]:
    """The configuration that a command line would give."""
    resolvers.register()
    with initialize_config_module("discrete_diffusion.trainer.config", version_base="1.3"):

        def configure(*overrides: str, output: Path | None = None) -> DictConfig:
            config = compose("trainer", [f"hydra.runtime.output_dir={output}", *overrides], return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            with open_dict(config):
                del config["hydra"]
            return config

        yield configure


@pytest.fixture
def run(configure: Callable[..., DictConfig]) -> Callable[..., Checkpoint]:
    """Train with the given overrides in the given folder."""

    def run(output: Path, *overrides: str) -> Checkpoint:
        size = [] if "data=table" in overrides else ["data.rows.size=300"]
        config = configure(*TINY, *size, *overrides, output=output)
        (output / ".hydra").mkdir(parents=True)
        OmegaConf.save(config, output / ".hydra" / "config.yaml")  # as Hydra's command line does
        return train(config)

    return run
