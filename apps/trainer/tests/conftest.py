"""Runs of seconds: 300 molecules, one block, a few steps, in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from discrete_diffusion.checkpoints import Checkpoint, ClassifierCheckpoint
from discrete_diffusion.trainer import resolvers
from discrete_diffusion.trainer.resumption import read_run
from discrete_diffusion.trainer.run_folder import for_resumption
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
            chosen = [f"hydra.runtime.output_dir={output}", *for_resumption(list(overrides))]
            config = compose("trainer", chosen, return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            with open_dict(config):
                del config["hydra"]
            return config

        yield configure


@pytest.fixture
def run(configure: Callable[..., DictConfig]) -> Callable[..., Checkpoint]:
    """Train with the given overrides in the given folder."""

    def run(output: Path, *overrides: str, small: bool = True) -> Checkpoint:
        own = TINY if small else TINY[3:]
        if not any(one.startswith("data=") for one in overrides):
            own = [*own, "data.rows.size=300"]
        if any(one.startswith("resume=") for one in overrides):
            own = []  # the resumed run has its settings
        config = configure(*own, *overrides, output=output)
        output.mkdir(parents=True, exist_ok=True)  # as Hydra's command line does
        return train(config)

    return run


@pytest.fixture(scope="session")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, ...], Path]]:
    return tmp_path_factory.mktemp("generators"), {}


@pytest.fixture
def generator_run(run: Callable[..., Checkpoint], _runs: tuple[Path, dict[tuple[str, ...], Path]]):
    """The run of a tiny generator, by its model and its overrides; each is trained once."""
    root, made = _runs

    def generator_run(model: str, *overrides: str) -> Path:
        key = (model, *overrides)
        if key not in made:
            folder = root / str(len(made))
            run(folder, f"model={model}", *overrides)
            made[key] = folder
        return made[key]

    return generator_run


@pytest.fixture
def classify(configure: Callable[..., DictConfig]) -> Callable[..., ClassifierCheckpoint]:
    """Train a classifier of a kind for the generator of a run."""

    def classify(output: Path, kind: str, generator: Path | None, *overrides: str) -> ClassifierCheckpoint:
        network = [] if kind == "hidden" else TINY[:3]
        options = [f"task={kind}_classifier", f"generator={generator}", *network, *TINY[3:]]
        if generator is None:  # a resumed run has its settings
            options = []
        config = configure(*options, *overrides, output=output)
        task = (
            config.task if generator is not None else read_run(config.resume, [], trust_remote_code=False).config.task
        )
        return instantiate(task)(config)

    return classify
