"""`uv run evaluator`."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from discrete_diffusion.commandline import launch


def main() -> None:
    """Measure a generator; see `uv run evaluator --help`."""
    # A console script does not look for modules where it is called, and a person's own metric lies there.
    sys.path.append(str(Path.cwd()))
    launch(_evaluate, config_path="pkg://discrete_diffusion.evaluator.config", config_name="evaluator")


def _evaluate(config: DictConfig) -> None:
    # torch, transformers and RDKit take seconds to import, and --help or a typo should not wait for them.
    from discrete_diffusion.evaluator.evaluate import evaluate

    evaluate(config)


if __name__ == "__main__":
    main()
