"""`uv run trainer`."""

from omegaconf import DictConfig

from discrete_diffusion.trainer import resolvers
from discrete_diffusion.trainer.command import launch


def main() -> None:
    """Train a generator, or a classifier for one; see `uv run trainer --help`."""
    resolvers.register()
    launch(_train, config_path="pkg://discrete_diffusion.trainer.config", config_name="trainer")


def _train(config: DictConfig) -> None:
    from hydra.utils import instantiate

    # Lightning and RDKit take seconds to import, and --help or a typo should not wait for them.
    instantiate(config.task)(config)


if __name__ == "__main__":
    main()
