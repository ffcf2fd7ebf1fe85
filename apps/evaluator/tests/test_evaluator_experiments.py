"""Commands of the evaluator in docs/presets.md."""

import re
from pathlib import Path

import pytest
from hydra.utils import instantiate

PAGE = (Path(__file__).parents[3] / "docs" / "presets.md").read_text(encoding="utf-8")
EVALUATION = PAGE.partition("## Evaluation")[2].partition("## Flag by flag")[0]
COMMANDS = re.findall(r"`(?:uv run evaluator )?((?:checkpoint|guidance|suite|label)=[^`]*)`", EVALUATION)


def test_there_are_some():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(configured, command: str):
    config = configured(*command.split())
    for row in config.suite.values() if config.suite else [{"guidance": config.guidance}]:
        assert all("method" in config.guidance[name] for name in row["guidance"])
    if config.judge and "name_or_path" not in config.judge:
        assert callable(instantiate(config.judge))
    for override in command.split():
        name, _, value = override.partition("=")
        if "." in name and value != "..":
            node = config
            for part in name.split("."):
                assert part in node
                node = node[part]
            assert str(node) == value
