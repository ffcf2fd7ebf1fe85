"""Commands of docs/benchmarks.md, with the rewards and properties that the page describes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig

from discrete_diffusion.eval import Ehrlich, guacamol_score

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"
COMMANDS = [
    [word for word in command.replace("\\\n", " ").split() if word.lstrip("+").startswith(("reward.", "metrics."))]
    for command in re.findall(r"^    uv run evaluator ((?:.*\\\n)+.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("part", ["reward.", "metrics."])
def test_commands_of_the_page(configured: Callable[..., DictConfig], part: str) -> None:
    ehrlich, guacamol = ([word for word in command if word.lstrip("+").startswith(part)] for command in COMMANDS)
    f, score = (
        instantiate(config.reward.function if part == "reward." else config.metrics.property)
        for config in (configured("metrics=dna", *ehrlich), configured("metrics=molecules", *guacamol))
    )
    same = Ehrlich.random("ACGT", 32, motifs=4, banned=0)
    assert (f.motifs, f.spacings, f(same.optimum())) == (same.motifs, same.spacings, 1.0)
    assert score("CCO") == guacamol_score("CCO", "osimertinib_mpo")
